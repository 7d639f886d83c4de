/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit-probe-libvirt [URI...]: prints what libvirt says of this host as a JSON object.  Asks the
 * first driver that answers, and starts no daemon.
 */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

/* A new document, or NULL. */
static xmlXPathContext *parse(const char *xml)
{
	xmlDoc *doc = xml ? xmlReadDoc(BAD_CAST xml, NULL, NULL,
				       XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING)
			  : NULL;

	return doc ? xmlXPathNewContext(doc) : NULL;
}

static void forget(xmlXPathContext *x)
{
	xmlDoc *doc = x->doc;

	xmlXPathFreeContext(x);
	xmlFreeDoc(doc);
}

/* All texts that an expression finds: a new reference. */
static json_t *texts_at(xmlXPathContext *x, const char *path)
{
	xmlXPathObject *found = xmlXPathEvalExpression(BAD_CAST path, x);
	int n = found ? xmlXPathNodeSetGetLength(found->nodesetval) : 0;
	json_t *texts = json_array();

	for (int i = 0; i < n; i++) {
		xmlChar *text = xmlXPathCastNodeToString(found->nodesetval->nodeTab[i]);

		json_array_append_new(texts, json_string((const char *)text));
		xmlFree(text);
	}
	xmlXPathFreeObject(found);
	return texts;
}

static void put_text(json_t *facts, const char *key, xmlXPathContext *x, const char *path)
{
	json_t *texts = texts_at(x, path);

	if (json_array_size(texts))
		json_object_set(facts, key, json_array_get(texts, 0));
	json_decref(texts);
}

/* The CPU that every host like this one has: what a guest that shall move may be given. */
static xmlXPathContext *baseline(virConnectPtr libvirt, xmlXPathContext *capabilities)
{
	xmlXPathObject *cpu = xmlXPathEvalExpression(BAD_CAST "/capabilities/host/cpu",
						     capabilities);
	xmlBuffer *text = xmlBufferCreate();
	xmlXPathContext *x = NULL;

	if (cpu && xmlXPathNodeSetGetLength(cpu->nodesetval) == 1 &&
	    xmlNodeDump(text, capabilities->doc, cpu->nodesetval->nodeTab[0], 0, 0) > 0) {
		const char *host = (const char *)xmlBufferContent(text);
		char *answer = virConnectBaselineCPU(libvirt, &host, 1,
						     VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES);

		x = parse(answer);
		free(answer);
	}
	xmlXPathFreeObject(cpu);
	xmlBufferFree(text);
	return x;
}

static void put_baseline(virConnectPtr libvirt, json_t *facts, xmlXPathContext *capabilities)
{
	xmlXPathContext *x = baseline(libvirt, capabilities);

	if (!x)
		return;
	put_text(facts, "baseline_model", x, "/cpu/model");
	json_object_set_new(facts, "baseline_features",
			    texts_at(x, "/cpu/feature[@policy='require']/@name"));
	forget(x);
}

static void put_capabilities(virConnectPtr libvirt, json_t *facts)
{
	char *text = virConnectGetCapabilities(libvirt);
	xmlXPathContext *x = parse(text);

	free(text);
	if (!x)
		return;
	put_text(facts, "arch", x, "/capabilities/host/cpu/arch");
	put_text(facts, "cpu_model", x, "/capabilities/host/cpu/model");
	put_text(facts, "cpu_vendor", x, "/capabilities/host/cpu/vendor");
	json_object_set_new(facts, "cpu_features",
			    texts_at(x, "/capabilities/host/cpu/feature/@name"));
	put_baseline(libvirt, facts, x);
	forget(x);
}

static json_t *host_facts(virConnectPtr libvirt, const char *uri)
{
	json_t *facts = json_pack("{s:b, s:s}", "usable", 1, "uri", uri);
	unsigned long version;
	virNodeInfo node;

	if (!virConnectGetLibVersion(libvirt, &version))
		json_object_set_new(facts, "version",
				    json_sprintf("%lu.%lu.%lu", version / 1000000,
						 version / 1000 % 1000, version % 1000));
	if (!virNodeGetInfo(libvirt, &node)) {
		json_t *topology = json_pack("{s:i, s:i, s:i, s:i}", "numa_nodes", node.nodes,
					     "sockets_per_node", node.sockets, "cores_per_socket",
					     node.cores, "threads_per_core", node.threads);

		json_object_set_new(facts, "topology", topology);
		json_object_set_new(facts, "memory_bytes",
				    json_integer((json_int_t)node.memory * 1024));
	}
	put_capabilities(libvirt, facts);
	return facts;
}

static void keep_quiet(void *arg, virErrorPtr error)
{
	(void)arg;
	(void)error;
}

/* What the first driver says; where none answers, why. */
static json_t *ask(const char *const *uris)
{
	json_t *why = json_string("");

	for (; *uris; uris++) {
		virConnectPtr libvirt = virConnectOpenReadOnly(*uris);
		json_t *facts, *longer;

		if (libvirt) {
			facts = host_facts(libvirt, *uris);
			virConnectClose(libvirt);
			json_decref(why);
			return facts;
		}
		longer = json_sprintf("%s%s%s: %s", json_string_value(why),
				      json_string_length(why) ? "; " : "", *uris,
				      virGetLastErrorMessage());
		json_decref(why);
		why = longer;
	}
	return json_pack("{s:o}", "usable", why);
}

int main(int argc, char **argv)
{
	static const char *const usual[] = { "qemu:///session", "qemu:///system", NULL };
	json_t *facts;
	int rc;

	setenv("LIBVIRT_AUTOSTART", "0", 1);
	virSetErrorFunc(NULL, keep_quiet);
	facts = ask(argc > 1 ? (const char *const *)argv + 1 : usual);
	rc = json_dumpf(facts, stdout, JSON_INDENT(2));
	json_decref(facts);
	return rc || putchar('\n') < 0 || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
