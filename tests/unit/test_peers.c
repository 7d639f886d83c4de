/* SPDX-License-Identifier: Apache-2.0 */
/* What other agents say, and what is made of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent_rig.h"
#include "check_main.h"
#include "log.h"
#include "peers_state.h"
#include "questions.h"
#include "state.h"

static struct agent_rig rig;
static struct err e;

static void setup(void)
{
	log_set_level(LOG_ERROR);
	agent_rig_new(&rig);
}

static void teardown(void)
{
	agent_rig_free(&rig);
}

START_TEST(certified)
{
	ck_assert(hello_is_certified("CN=a", "a"));
	ck_assert(hello_is_certified("CN=host1,O=Example", "host1"));
	ck_assert(hello_is_certified("O=Example\\,CN=b,CN=host1", "host1"));
	ck_assert(hello_is_certified("O=Example+CN=host1", "host1"));
	ck_assert(!hello_is_certified("O=Example\\,CN=b,CN=host1", "b"));
	ck_assert(!hello_is_certified("O=Example\\\\\\,CN=b", "b"));
	ck_assert(!hello_is_certified("CN=host1", "host"));
	ck_assert(!hello_is_certified("CN=host", "host1"));
	ck_assert(!hello_is_certified("CN=a,CN=b", "a"));
	ck_assert(!hello_is_certified("O=a", "a"));
	ck_assert(!hello_is_certified("", "a"));
	ck_assert(!hello_is_certified("CN=a\\", "a"));
}
END_TEST

static int read_hello(const char *text)
{
	json_auto_t *message = json_loads(text, 0, NULL);
	struct hello hello;

	return hello_read(message, &hello, &e);
}

START_TEST(hello)
{
	ck_assert_int_eq(read_hello("{\"hello\":{\"id\":\"b\",\"version\":1,\"listen\":\"h:7\"}}"),
			 0);
	ck_assert_int_eq(
		read_hello("{\"hello\":{\"id\":\"b\",\"version\":1,\"listen\":\"[::1]:7\"}}"), 0);
	ck_assert_int_eq(read_hello("{\"hello\":{\"id\":\"b\",\"version\":2,\"listen\":\"h:7\"}}"),
			 -EPROTO);
	ck_assert_msg(strstr(e.text, "speaks version 2, this one 1"), "%s", e.text);
	ck_assert_int_eq(
		read_hello("{\"hello\":{\"id\":\"b c\",\"version\":1,\"listen\":\"h:7\"}}"),
		-EPROTO);
	ck_assert_int_eq(read_hello("{\"hello\":{\"id\":\"b\",\"version\":1}}"), -EPROTO);
	ck_assert_int_eq(read_hello("{\"hello\":{\"id\":\"b\",\"version\":1,\"listen\":\"h\"}}"),
			 -EPROTO);
	ck_assert_int_eq(read_hello("{\"hello\":[]}"), -EPROTO);
	ck_assert_int_eq(read_hello("{}"), -EPROTO);
}
END_TEST

static int meet(const char *id, const char *listen, struct peer **p)
{
	struct hello h = { .run = "another" };

	snprintf(h.id, sizeof(h.id), "%s", id);
	snprintf(h.listen, sizeof(h.listen), "%s", listen);
	return hello_meet(&rig.agent, &h, p, &e);
}

START_TEST(one_id_one_agent)
{
	struct peer *b, *c, *again;

	ck_assert_int_eq(meet("a", "h:1", &b), -EINVAL);
	ck_assert_msg(strstr(e.text, "at h:1 has the id of this one, \"a\""), "%s", e.text);
	ck_assert_int_eq(meet("b", "h:2", &b), 0);
	ck_assert_str_eq(b->address, "h:2"); /* it has moved */
	b->accepted++;
	ck_assert_int_eq(meet("b", "h:3", &again), -EINVAL);
	ck_assert_msg(strstr(e.text, "two agents have the id \"b\", at h:2 and at h:3"), "%s",
		      e.text);
	ck_assert_int_eq(meet("b", "h:2", &again), 0);
	ck_assert_ptr_eq(again, b);
	b->accepted--;
	ck_assert_int_eq(meet("b", "h:3", &again), 0);
	ck_assert_int_eq(meet("c", "h:4", &c), 0);
	ck_assert_uint_eq(rig.agent.peers->nknown, 2);
}
END_TEST

START_TEST(dialled)
{
	struct peer *b = peer_of(rig.agent.peers, "b"), *p;
	struct hello h = { .id = "x", .listen = "h:7", .run = "another" };

	ck_assert_int_eq(hello_meet_dialled(b, &h, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "of x answers there, and not that of b"), "%s", e.text);
	/* Another address of one that is known: that works. */
	p = peer_know(&rig.agent, "", "other:7");
	strcpy(h.id, "b");
	ck_assert_int_eq(hello_meet_dialled(p, &h, &e), -EALREADY);
	ck_assert(p->twin && b->now);
	ck_assert_str_eq(b->address, "other:7");
	ck_assert_ptr_eq(peer_of(rig.agent.peers, "b"), b);
	strcpy(h.id, "a");
	p = peer_know(&rig.agent, "", "third:7");
	ck_assert_int_eq(hello_meet_dialled(p, &h, &e), -EINVAL);
	ck_assert_str_eq(p->id, "");
	ck_assert(!p->twin);
	strcpy(h.run, rig.agent.peers->run);
	ck_assert_int_eq(hello_meet_dialled(p, &h, &e), -EALREADY);
	ck_assert(p->twin);
}
END_TEST

/* What b says, and part of what it is answered; ' stands for ". */
static void tell(const char *text, const char *answer)
{
	json_auto_t *message = NULL, *got = NULL;
	char *copy = strdup(text), *said;

	for (char *quote = copy; (quote = strchr(quote, '\'')); quote++)
		*quote = '"';
	message = json_loads(copy, 0, NULL);
	ck_assert_msg(message, "%s", copy);
	free(copy);
	got = questions_answer(&rig.agent, "b", message);
	said = json_dumps(got, JSON_COMPACT);
	ck_assert_msg(strstr(said, answer), "%s", said);
	free(said);
}

static void is_kept(const char *key, const char *text)
{
	char *said = json_dumps(json_object_get(peer_of(rig.agent.peers, "b")->state, key),
				JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	ck_assert_str_eq(said ? said : "", text);
	free(said);
}

START_TEST(questions)
{
	tell("{}", "\"refused\":{\"why\":\"a message has one key");
	tell("{'a':{},'b':{}}", "\"refused\"");
	tell("{'\\u001b':{}}", "a message has one key");
	tell("{'state':[]}", "\\\"state\\\" is no object");
	tell("{'dance':{}}", "does not know what \\\"dance\\\" is");
	tell("{'state':{'id':'c'}}", "the state that b tells is not its own");
	tell("{'state':{'id':'b'}}", "{\"ok\":{}}");
}
END_TEST

START_TEST(only_its_own)
{
	tell("{'state':{'id':'b','host':{'id':'c'},'vms':["
	     "{'name':'v1','uuid':'','state':'','record':{'id':'v1','host':'b'}},"
	     "{'name':'v2','uuid':'','state':'','record':{'id':'v2','host':'c'}},"
	     "{'name':'v3','uuid':'','state':'','record':{'id':'v4','host':'b'}},"
	     "{'name':'v5','uuid':'','state':'','record':null},"
	     "{'name':'v6','uuid':'','state':''},"
	     "{'name':'v 7','uuid':'','state':''},"
	     "{'name':'v8','uuid':'','state':'\\u001b'},"
	     "{'name':'v9','state':''},"
	     "7],'hears':['a',7],'flights':[1]}}",
	     "{\"ok\":{}}");
	is_kept("host", "");
	is_kept("hears", "");
	is_kept("flights", "[1]");
	is_kept("vms", "[{\"name\":\"v1\",\"record\":{\"host\":\"b\",\"id\":\"v1\"},"
		       "\"state\":\"\",\"uuid\":\"\"},"
		       "{\"name\":\"v5\",\"record\":null,\"state\":\"\",\"uuid\":\"\"},"
		       "{\"name\":\"v6\",\"state\":\"\",\"uuid\":\"\"}]");
	tell("{'state':{'id':'b','host':{'id':'b'},'vms':7,'hears':['a']}}", "{\"ok\":{}}");
	is_kept("host", "{\"id\":\"b\"}");
	is_kept("hears", "[\"a\"]");
	is_kept("vms", "[]");
}
END_TEST

START_TEST(settings_and_others)
{
	struct peer *c;

	tell("{'state':{'id':'b','settings':{'mode':{'value':'auto','at':1,'by':'b'},"
	     "'host.b':{'value':'maintenance','at':1,'by':'b'},'\\u001b':{}},"
	     "'knows':{'a':'x:1','b':'x:2','c':'x:3','d e':'x:4','f':'x','g':7}}}",
	     "{\"ok\":{}}");
	is_kept("settings", "");
	is_kept("knows", "");
	ck_assert_str_eq(settings_mode(&rig.agent.settings), "auto");
	ck_assert_str_eq(settings_host(&rig.agent.settings, "b"), "maintenance");
	c = peer_of(rig.agent.peers, "c");
	ck_assert_str_eq(c->address, "x:3");
	ck_assert_str_eq(peer_of(rig.agent.peers, "b")->address, "127.0.0.1:7");
	ck_assert_uint_eq(rig.agent.peers->nknown, 2);
}
END_TEST

static void count_lines(unsigned *hosts, unsigned *vms, unsigned *dead)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	state_snapshot(&rig.agent, f);
	fclose(f);
	*hosts = *vms = *dead = 0;
	for (const char *p = text; (p = strstr(p, "\n{\"host\"")); p++)
		++*hosts;
	for (const char *p = text; (p = strstr(p, "\n{\"vm\"")); p++)
		++*vms;
	for (const char *p = text; (p = strstr(p, "\"state\":\"dead\"")); p++)
		++*dead;
	free(text);
}

/* Its VMs are shown and never to be started elsewhere. */
START_TEST(dead_host)
{
	struct peer *b = peer_of(rig.agent.peers, "b");
	unsigned hosts, vms, dead;
	json_t *status, *vm;

	tell("{'state':{'id':'b','host':{'id':'b','state':'up'},'vms':[{'name':'v1','uuid':'',"
	     "'state':'running','record':{'id':'v1','host':'b'}}]}}",
	     "{\"ok\":{}}");
	count_lines(&hosts, &vms, &dead);
	ck_assert(hosts == 1 && vms == 1 && dead == 0);
	ck_assert(peer_is_heard(&rig.agent, b));
	b->heard_ns = 1;
	ck_assert(!peer_is_heard(&rig.agent, b));
	count_lines(&hosts, &vms, &dead);
	ck_assert(hosts == 1 && vms == 0 && dead == 1);
	status = state_status(&rig.agent);
	vm = json_array_get(json_object_get(status, "vms"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(vm, "name")), "v1");
	ck_assert_str_eq(json_string_value(json_object_get(vm, "host")), "b");
	ck_assert_str_eq(json_string_value(json_object_get(vm, "state")), "unknown");
	ck_assert(json_is_null(json_object_get(status, "planner")));
	json_decref(status);
}
END_TEST

START_TEST(asked_of_nobody)
{
	json_auto_t *question = json_pack("{s:{}}", "prepare");
	json_t *answer = NULL;

	ck_assert_int_eq(peers_ask(&rig.agent, "x", question, &answer, 1000, &e), -ENOTCONN);
	ck_assert_str_eq(e.text, "no agent of x is known");
	ck_assert_int_eq(peers_ask(&rig.agent, "b", question, &answer, 1000, &e), -ENOTCONN);
	ck_assert_str_eq(e.text, "the agent of b is not reached");
	ck_assert_ptr_null(answer);
}
END_TEST

/* The other end of a connection with b: for each question the next of these lines. */
struct answers {
	struct wire wire;
	const char *const *line; /* NULL-terminated; "": none comes */
	unsigned asked;
};

static void *give_answers(void *arg)
{
	struct answers *all = arg;
	json_t *question;
	struct err unused;

	while (*all->line && !wire_read(&all->wire, 0, &question, &unused)) {
		struct iovec iov = { (void *)(uintptr_t)*all->line, strlen(*all->line) };

		json_decref(question);
		all->asked++;
		all->line++;
		channel_write(&all->wire.ch, &iov, 1, &unused);
	}
	return NULL;
}

static pthread_t connect_b(struct answers *answers)
{
	struct peer *b = peer_of(rig.agent.peers, "b");
	pthread_t thread;
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	b->wire.ch = channel_of(fd[0]);
	b->up = true;
	answers->wire.ch = channel_of(fd[1]);
	ck_assert_int_eq(pthread_create(&thread, NULL, give_answers, answers), 0);
	return thread;
}

static void disconnect_b(pthread_t thread, struct answers *answers)
{
	wire_close(&peer_of(rig.agent.peers, "b")->wire);
	pthread_join(thread, NULL);
	wire_close(&answers->wire);
}

START_TEST(asked)
{
	const char *const lines[] = { "{\"ok\":{\"n\":1}}\n",
				      "{\"refused\":{\"why\":\"there is no room\"}}\n",
				      "{\"refused\":{\"why\":\"\\u001b\"}}\n",
				      _i ? "{\"ok\":[]}\n" : "", NULL };
	struct answers answers = { .line = lines };
	json_auto_t *question = json_pack("{s:{}}", "prepare"), *answer = NULL;
	pthread_t thread = connect_b(&answers);
	struct agent *a = &rig.agent;

	ck_assert_int_eq(peers_ask(a, "b", question, &answer, 10000, &e), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(answer, "n")), 1);
	ck_assert_int_eq(peers_ask(a, "b", question, &answer, 10000, &e), -EREMOTEIO);
	ck_assert_str_eq(e.text, "there is no room");
	ck_assert_int_eq(peers_ask(a, "b", question, &answer, 10000, &e), -EREMOTEIO);
	ck_assert_str_eq(e.text, "it does not say why");
	/* What comes too late, or is no answer, ends the connection. */
	ck_assert_int_eq(peers_ask(a, "b", question, &answer, _i ? 10000 : 1, &e), -ENOTCONN);
	ck_assert(!peer_of(a->peers, "b")->up);
	ck_assert_int_eq(peers_ask(a, "b", question, &answer, 10000, &e), -ENOTCONN);
	disconnect_b(thread, &answers);
	ck_assert_uint_le(answers.asked, 4);
}
END_TEST

static void *ask_often(void *arg)
{
	json_auto_t *question = json_pack("{s:{}}", "prepare");
	unsigned *ok = arg;
	struct err unused;

	for (unsigned i = 0; i < 100; i++) {
		json_t *answer;

		*ok += !peers_ask(&rig.agent, "b", question, &answer, 10000, &unused);
		json_decref(answer);
	}
	return NULL;
}

/* Whoever asks at once is answered one after the other. */
START_TEST(asked_by_many)
{
	enum { ASKERS = 4 };
	static const char *lines[401];
	struct answers answers = { .line = lines };
	pthread_t thread, asker[ASKERS];
	unsigned ok[ASKERS] = { 0 };

	for (unsigned i = 0; i < 400; i++)
		lines[i] = "{\"ok\":{}}\n";
	thread = connect_b(&answers);
	for (unsigned i = 0; i < ASKERS; i++)
		ck_assert_int_eq(pthread_create(&asker[i], NULL, ask_often, &ok[i]), 0);
	for (unsigned i = 0; i < ASKERS; i++) {
		pthread_join(asker[i], NULL);
		ck_assert_uint_eq(ok[i], 100);
	}
	disconnect_b(thread, &answers);
	ck_assert_uint_eq(answers.asked, 400);
}
END_TEST

static Suite *peers_suite(void)
{
	Suite *suite = suite_create("peers");
	TCase *tcase = tcase_create("all");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, certified);
	tcase_add_test(tcase, hello);
	tcase_add_test(tcase, one_id_one_agent);
	tcase_add_test(tcase, dialled);
	tcase_add_test(tcase, questions);
	tcase_add_test(tcase, only_its_own);
	tcase_add_test(tcase, settings_and_others);
	tcase_add_test(tcase, dead_host);
	tcase_add_test(tcase, asked_of_nobody);
	tcase_add_loop_test(tcase, asked, 0, 2);
	tcase_add_test(tcase, asked_by_many);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(peers_suite)
