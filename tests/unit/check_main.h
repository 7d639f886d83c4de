/* SPDX-License-Identifier: Apache-2.0 */
/* The main() of a unit test: one suite, non-zero on failure. */
#ifndef CHECK_MAIN_H
#define CHECK_MAIN_H

#include <check.h>
#include <stdlib.h>

#define CHECK_MAIN(suite)                                                                          \
	int main(void)                                                                             \
	{                                                                                          \
		SRunner *runner = srunner_create(suite());                                         \
		int failed;                                                                        \
                                                                                                   \
		srunner_run_all(runner, CK_ENV);                                                   \
		failed = srunner_ntests_failed(runner);                                            \
		srunner_free(runner);                                                              \
		return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                       \
	}

#endif
