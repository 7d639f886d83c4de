/* SPDX-License-Identifier: Apache-2.0 */
#include "page_codec.h"

#include <limits.h>
#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

/* The level of zstd that is about as fast as a disk; higher ones are for what lasts. */
enum { ZSTD_FAST = 1 };

static size_t lz4_compress(void *context, const void *in, size_t len, void *out, size_t room)
{
	int n = LZ4_compress_fast_extState(context, in, out, (int)len, (int)room, 1);

	return n > 0 ? (size_t)n : 0;
}

static bool lz4_decompress(void *context, const void *in, size_t len, void *out, size_t wanted)
{
	(void)context;
	return len <= INT_MAX && LZ4_decompress_safe(in, out, (int)len, (int)wanted) == (int)wanted;
}

static void *lz4_new(void)
{
	return malloc((size_t)LZ4_sizeofState());
}

static size_t zstd_compress(void *context, const void *in, size_t len, void *out, size_t room)
{
	size_t n = ZSTD_compressCCtx(context, out, room, in, len, ZSTD_FAST);

	return ZSTD_isError(n) ? 0 : n;
}

static bool zstd_decompress(void *context, const void *in, size_t len, void *out, size_t wanted)
{
	return ZSTD_decompressDCtx(context, out, wanted, in, len) == wanted;
}

static void *zstd_new_compressor(void)
{
	return ZSTD_createCCtx();
}

static void zstd_free_compressor(void *context)
{
	ZSTD_freeCCtx(context);
}

static void *zstd_new_decompressor(void)
{
	return ZSTD_createDCtx();
}

static void zstd_free_decompressor(void *context)
{
	ZSTD_freeDCtx(context);
}

const struct page_codec page_codecs[PAGE_CODECS] = {
	{ .name = "lz4",
	  .encoding = ENCODING_LZ4,
	  .type = SECTION_LZ4,
	  .compress = lz4_compress,
	  .decompress = lz4_decompress,
	  .new_compressor = lz4_new,
	  .new_decompressor = lz4_new, /* has nothing to keep */
	  .free_compressor = free,
	  .free_decompressor = free },
	{ .name = "zstd",
	  .encoding = ENCODING_ZSTD,
	  .type = SECTION_ZSTD,
	  .compress = zstd_compress,
	  .decompress = zstd_decompress,
	  .new_compressor = zstd_new_compressor,
	  .new_decompressor = zstd_new_decompressor,
	  .free_compressor = zstd_free_compressor,
	  .free_decompressor = zstd_free_decompressor },
};
