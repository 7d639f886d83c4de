/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bits.h"
#include "broker.h"
#include "cleanup.h"
#include "socket_io.h"
#include "tap.h"

enum {
	/* Linux 6.2; younger than some headers */
	TAP_USO4 = 0x20,
	TAP_USO6 = 0x40,
};

struct tap {
	char name[IFNAMSIZ];
	unsigned npairs;
	int fd[TAP_PAIRS_MAX];
	unsigned index; /* the kernel's, for life */
	int link_fd;
	atomic_bool attached[TAP_PAIRS_MAX];
	uint64_t offloads;
};

int tap_parse_mac(const char *text, uint8_t mac[6])
{
	int end = 0;

	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &end) != 6 ||
	    text[end] || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return -EINVAL;
	/* Neither a group nor nobody is a card. */
	return mac[0] & 1 || !(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) ? -EINVAL : 0;
}

static int refuse(const struct tap_config *c, int error, struct err *e)
{
	const char *name = c->name ? c->name : "of the monitor's own";

	switch (error) {
	case EPERM:
	case EACCES:
		return err_set(e, -EPERM,
			       "not allowed to open tap %s; have root make it for you: ip tuntap "
			       "add dev %s mode tap user $(id -un)%s",
			       name, c->name ? c->name : "tap0",
			       c->npairs > 1 ? " multi_queue" : "");
	case EBUSY:
		return err_set(e, -EBUSY, "tap %s is in use by another program", name);
	case EINVAL:
		return err_set(
			e, -EINVAL,
			"%s is no tap, or was not made with as many queues: this VM asks for "
			"num_queues=%u",
			name, 2 * c->npairs);
	case ENOENT:
	case ENODEV:
		return err_set(e, -error, "/dev/net/tun is missing; load the kernel's module tun");
	default:
		return err_set(e, -error, "cannot open tap %s: %s", name, strerror(error));
	}
}

static int open_pair(struct tap *t, const struct tap_config *c, unsigned pair, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header_bytes = TAP_HEADER_BYTES;
	CLEANUP(fd) int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return refuse(c, errno, e);
	if (c->npairs > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	strcpy(ifr.ifr_name, t->name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0)
		return refuse(c, errno, e);
	strcpy(t->name, ifr.ifr_name); /* the kernel's choice, for the next pair too */
	t->fd[pair] = TAKE_FD(fd);
	t->attached[pair] = true;
	t->npairs = pair + 1;
	return pair ? tap_attach_pair(t, pair, false) : 0;
}

/* TUNGETIFF says IFF_NO_PI also of a tap without a filter, where the bit is IFF_NOFILTER: it can
 * be believed while there is one. */
static bool has_no_pi(int fd)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog had = { 0 }, filter = { .len = 1, .filter = &all };
	struct ifreq ifr = { .ifr_flags = IFF_NO_PI };

	if (ioctl(fd, TUNGETFILTER, &had) < 0 || (!had.len && ioctl(fd, TUNATTACHFILTER, &filter)))
		return true; /* nobody knows */
	ioctl(fd, TUNGETIFF, &ifr);
	if (!had.len)
		ioctl(fd, TUNDETACHFILTER, NULL);
	return ifr.ifr_flags & IFF_NO_PI;
}

/* A macvtap answers like a tap. */
static int check_fd(int fd, const char *what, char name[IFNAMSIZ], struct err *e)
{
	struct ifreq ifr = { 0 };

	if (ioctl(fd, TUNGETIFF, &ifr) < 0 || !(ifr.ifr_flags & IFF_TAP))
		return err_set(e, -EINVAL, "%s is no open tap", what);
	if (!(ifr.ifr_flags & IFF_VNET_HDR) || !has_no_pi(fd))
		return err_set(e, -EINVAL,
			       "%s: tap %s must be opened with IFF_VNET_HDR and IFF_NO_PI", what,
			       ifr.ifr_name);
	strcpy(name, ifr.ifr_name);
	return 0;
}

int tap_check_fd(int fd, const char *what, struct err *e)
{
	char name[IFNAMSIZ];

	return check_fd(fd, what, name, e);
}

/* One that somebody else opened: he has the rights, and has set the interface up. */
static int adopt_pair(struct tap *t, const struct tap_config *c, unsigned pair, struct err *e)
{
	struct ifreq attach = { .ifr_flags = IFF_ATTACH_QUEUE };
	int given = c->fd[pair], header_bytes = TAP_HEADER_BYTES, r;
	char what[16];

	snprintf(what, sizeof(what), "fd %d", given);
	r = check_fd(given, what, t->name, e);
	if (r)
		return r;
	t->fd[pair] = fcntl(given, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (t->fd[pair] < 0)
		return err_set(e, -errno, "%s: cannot duplicate it: %s", what, strerror(errno));
	t->npairs = pair + 1;
	if (ioctl(given, TUNSETVNETHDRSZ, &header_bytes) < 0 ||
	    fcntl(given, F_SETFL, fcntl(given, F_GETFL) | O_NONBLOCK) < 0 ||
	    fcntl(given, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(e, -errno, "%s: cannot set up tap %s: %s", what, t->name,
			       strerror(errno));
	/* An earlier tap of this file may have detached the pair; if not, this is refused. */
	ioctl(given, TUNSETQUEUE, &attach);
	t->attached[pair] = true;
	return 0;
}

static int interface_set(int sock, struct tap *t, unsigned long request, const char *what,
			 struct ifreq *ifr, struct err *e)
{
	strcpy(ifr->ifr_name, t->name);
	if (!ioctl(sock, request, ifr))
		return 0;
	if (errno == EPERM)
		return err_set(e, -EPERM,
			       "not allowed to set the %s of tap %s; have root do it and leave the "
			       "option out",
			       what, t->name);
	return err_set(e, -errno, "cannot set the %s of tap %s: %s", what, t->name,
		       strerror(errno));
}

static int set_address(int sock, struct tap *t, unsigned long request, const char *what,
		       const char *text, struct err *e)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct ifreq ifr = { 0 };

	if (!text)
		return 0;
	if (inet_pton(AF_INET, text, &in.sin_addr) != 1)
		return err_set(e, -EINVAL, "%s=%s is not an IPv4 address", what, text);
	memcpy(&ifr.ifr_addr, &in, sizeof(in));
	return interface_set(sock, t, request, what, &ifr, e);
}

/* Was it made by opening it, and has it the address that the kernel drew? */
static bool is_made_here(const struct tap *t)
{
	struct ifreq ifr = { 0 };

	return !ioctl(t->fd[0], TUNGETIFF, &ifr) && !(ifr.ifr_flags & IFF_PERSIST);
}

/* A bridge's own address is the lowest of its ports', unless it was given one: if a VM that comes
 * or goes changed that, nobody would reach the host until he asked for it again.  So a tap's is a
 * high one, and the same one for the same guest. */
static int set_mac(int sock, struct tap *t, const struct tap_config *c, struct err *e)
{
	struct ifreq ifr = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	uint8_t *mac = (uint8_t *)ifr.ifr_hwaddr.sa_data;

	if (!c->host_mac && (!c->bridge || !is_made_here(t)))
		return 0;
	if (c->host_mac && tap_parse_mac(c->host_mac, mac))
		return err_set(e, -EINVAL, "host_mac=%s is not the address of a network card",
			       c->host_mac);
	if (!c->host_mac) {
		memcpy(mac, c->guest_mac, 6);
		mac[0] = c->guest_mac[0] == 0xfe ? 0xfa : 0xfe;
	}
	return interface_set(sock, t, SIOCSIFHWADDR, "host_mac", &ifr, e);
}

static int set_mtu(int sock, struct tap *t, uint16_t mtu, struct err *e)
{
	struct ifreq ifr = { 0 };

	strcpy(ifr.ifr_name, t->name);
	if (!mtu || (!ioctl(sock, SIOCGIFMTU, &ifr) && ifr.ifr_mtu == mtu))
		return 0;
	ifr.ifr_mtu = mtu;
	return interface_set(sock, t, SIOCSIFMTU, "mtu", &ifr, e);
}

static int join_bridge(int sock, struct tap *t, const char *bridge, struct err *e)
{
	struct ifreq ifr = { 0 };

	if (!bridge)
		return 0;
	if (strlen(bridge) >= IFNAMSIZ || !if_nametoindex(bridge))
		return err_set(e, -ENODEV,
			       "there is no bridge %s; make it: ip link add %s type bridge", bridge,
			       bridge);
	strcpy(ifr.ifr_name, bridge);
	ifr.ifr_ifindex = (int)if_nametoindex(t->name);
	if (!ioctl(sock, SIOCBRADDIF, &ifr))
		return 0;
	/* It may be there already: then its ports have it. */
	if (errno == EBUSY)
		return 0;
	return err_set(e, -errno, "cannot put tap %s into %s: %s%s", t->name, bridge,
		       strerror(errno),
		       errno == EPERM ? "; have root do it and leave bridge= out" : "");
}

/* An interface that is up already needs no rights. */
static int bring_up(int sock, struct tap *t, struct err *e)
{
	struct ifreq ifr = { 0 };

	strcpy(ifr.ifr_name, t->name);
	if (ioctl(sock, SIOCGIFFLAGS, &ifr) < 0)
		return err_set(e, -errno, "tap %s: %s", t->name, strerror(errno));
	if (ifr.ifr_flags & IFF_UP)
		return 0;
	ifr.ifr_flags |= IFF_UP;
	return interface_set(sock, t, SIOCSIFFLAGS, "state", &ifr, e);
}

static int configure(struct tap *t, const struct tap_config *c, struct err *e)
{
	CLEANUP(fd) int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	if (sock < 0)
		return err_set(e, -errno, "cannot set up tap %s: %s", t->name, strerror(errno));
	r = set_mac(sock, t, c, e);
	if (!r)
		r = set_mtu(sock, t, c->mtu, e);
	if (!r)
		r = set_address(sock, t, SIOCSIFADDR, "ip", c->ip, e);
	if (!r)
		r = set_address(sock, t, SIOCSIFNETMASK, "mask", c->mask, e);
	if (!r)
		r = join_bridge(sock, t, c->bridge, e);
	return r ? r : bring_up(sock, t, e);
}

static const struct offload {
	unsigned feature, flag; /* virtio 1.2, 5.1.3; TUNSETOFFLOAD */
} offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
	{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	{ VIRTIO_NET_F_GUEST_UFO, TUN_F_UFO },   { TAP_F_GUEST_USO4, TAP_USO4 },
	{ TAP_F_GUEST_USO6, TAP_USO6 },
};

int tap_set_offloads(struct tap *t, uint64_t features)
{
	unsigned long flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		if (features & BIT(offloads[i].feature))
			flags |= offloads[i].flag;
	return ioctl(t->fd[0], TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

/* The kernel refuses a set with a flag that it does not know: from 6.2 on it knows all. */
static uint64_t known_offloads(struct tap *t)
{
	uint64_t all = 0, old;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		all |= BIT(offloads[i].feature);
	old = all & ~(BIT(TAP_F_GUEST_USO4) | BIT(TAP_F_GUEST_USO6));
	if (!tap_set_offloads(t, all))
		return all;
	return tap_set_offloads(t, old) ? 0 : old;
}

/* Kernel and monitor must mean the same network by the name: known only of taps opened here. */
static int link_open(struct tap *t, struct err *e)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	t->index = if_nametoindex(t->name);
	t->link_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (t->link_fd < 0 || bind(t->link_fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_set(e, -errno, "cannot follow the link of tap %s: %s", t->name,
			       strerror(errno));
	return 0;
}

static int open_pairs(struct tap *t, const struct tap_config *c, struct err *e)
{
	int r = 0;

	if (c->name)
		strcpy(t->name, c->name);
	for (unsigned i = 0; !r && i < c->npairs; i++)
		r = open_pair(t, c, i, e);
	r = r ? r : configure(t, c, e);
	return r ? r : link_open(t, e);
}

/* As tap_print(): {"name": "tap0", "index": 3}, fds of the pairs, and what tells of the link. */
static int serve_tap(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
		     struct err *e)
{
	struct tap_config c = { .npairs = 0 };
	struct tap t = { .link_fd = -1 };
	uint8_t mac[6]; /* a card's, as it is: only to make another of it */
	const char *guest_mac;
	int mtu, npairs, r;

	(void)fd;
	(void)nfds;
	if (json_unpack((json_t *)ask, "{s?s, s?s, s?s, s?s, s?s, s:s, s:i, s:i}", "name", &c.name,
			"bridge", &c.bridge, "ip", &c.ip, "mask", &c.mask, "host_mac", &c.host_mac,
			"guest_mac", &guest_mac, "mtu", &mtu, "npairs", &npairs) ||
	    sscanf(guest_mac, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5]) != 6 ||
	    npairs < 1 || npairs > TAP_PAIRS_MAX || mtu != (uint16_t)mtu ||
	    (c.name && (!*c.name || strlen(c.name) >= IFNAMSIZ)))
		return err_set(e, -EINVAL, "there can be no such tap");
	if ((c.name && !broker_knows(c.name)) || (c.bridge && !broker_knows(c.bridge)))
		return err_set(e, -EACCES, "the configuration has no such tap");
	c.guest_mac = mac;
	c.mtu = (uint16_t)mtu;
	c.npairs = (unsigned)npairs;
	r = open_pairs(&t, &c, e);
	for (unsigned i = 0; i < t.npairs; i++)
		out->fd[out->nfds++] = t.fd[i];
	if (t.link_fd >= 0)
		out->fd[out->nfds++] = t.link_fd;
	if (!r)
		out->json = json_pack("{s:s, s:i}", "name", t.name, "index", (int)t.index);
	return r;
}

const struct broker_service tap_service = { "tap", true, serve_tap };

/* {"name": "tap0"}: true or false */
static int serve_is_there(const json_t *ask, const int *fd, unsigned nfds,
			  struct broker_answer *out, struct err *e)
{
	const char *name = json_string_value(json_object_get(ask, "name"));

	(void)fd;
	(void)nfds;
	(void)e;
	out->json = json_boolean(name && if_nametoindex(name));
	return 0;
}

const struct broker_service tap_is_there_service = { "tap_is_there", false, serve_is_there };

bool tap_is_there(const char *name)
{
	struct broker_answer a;
	struct err ignored;
	bool is_there = false;

	if (!broker_ask(&tap_is_there_service, json_pack("{s:s}", "name", name), NULL, 0, &a,
			&ignored)) {
		is_there = json_is_true(a.json);
		broker_answer_free(&a);
	}
	return is_there;
}

static json_t *tap_print(const struct tap_config *c)
{
	const uint8_t *m = c->guest_mac;
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	return json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*, s:s, s:i, s:i}", "name", c->name, "bridge",
			 c->bridge, "ip", c->ip, "mask", c->mask, "host_mac", c->host_mac,
			 "guest_mac", mac, "mtu", (int)c->mtu, "npairs", (int)c->npairs);
}

static int open_one(struct tap *t, const struct tap_config *c, struct err *e)
{
	struct broker_answer a;
	const char *name;
	int r = broker_ask(&tap_service, tap_print(c), NULL, 0, &a, e), index = 0;

	if (r)
		return r;
	if (a.nfds == c->npairs + 1 &&
	    !json_unpack(a.json, "{s:s, s:i}", "name", &name, "index", &index))
		snprintf(t->name, sizeof(t->name), "%s", name);
	else
		r = err_set(e, -EBADMSG, "the broker's answer makes no sense");
	for (unsigned i = 0; !r && i < c->npairs; i++)
		t->fd[t->npairs++] = TAKE_FD(a.fd[i]);
	if (!r)
		t->link_fd = TAKE_FD(a.fd[c->npairs]);
	t->attached[0] = true;
	t->index = (unsigned)index;
	broker_answer_free(&a);
	return r;
}

static int adopt_all(struct tap *t, const struct tap_config *c, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; !r && i < c->npairs; i++)
		r = adopt_pair(t, c, i, e);
	return r;
}

int tap_open(struct tap **out, const struct tap_config *c, struct err *e)
{
	struct tap *t;
	int r;

	if (c->name && (!*c->name || strlen(c->name) >= IFNAMSIZ))
		return err_set(e, -EINVAL, "tap=%s is no name of an interface: up to %d letters",
			       c->name, IFNAMSIZ - 1);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->link_fd = -1;
	r = c->fd ? adopt_all(t, c, e) : open_one(t, c, e);
	if (r) {
		tap_close(t);
		return r;
	}
	t->offloads = known_offloads(t);
	tap_set_offloads(t, 0);
	*out = t;
	return 0;
}

void tap_close(struct tap *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->npairs; i++)
		close(t->fd[i]);
	cleanup_fd(&t->link_fd);
	free(t);
}

const char *tap_name(const struct tap *t)
{
	return t->name;
}

int tap_fd(const struct tap *t, unsigned pair)
{
	return t->fd[pair];
}

uint64_t tap_offloads(const struct tap *t)
{
	return t->offloads;
}

int tap_link_fd(const struct tap *t)
{
	return t->link_fd;
}

/* The messages only say that it is time to look: some may be lost, and none has to be understood
 * (rtnetlink(7)). */
enum tap_link tap_link(const struct tap *t)
{
	struct ifreq ifr = { 0 };
	char message[4096];

	if (t->link_fd < 0)
		return TAP_UP;
	while (socket_receive(t->link_fd, message, sizeof(message), 0) >= 0 || errno == ENOBUFS)
		;
	ifr.ifr_ifindex = (int)t->index;
	if (ioctl(t->link_fd, SIOCGIFNAME, &ifr) < 0 || ioctl(t->link_fd, SIOCGIFFLAGS, &ifr) < 0)
		return TAP_REMOVED;
	return ifr.ifr_flags & IFF_UP ? TAP_UP : TAP_DOWN;
}

static int parse_counts(const struct nlmsghdr *reply, size_t len, struct tap_counts *out)
{
	const struct rtattr *a;
	struct rtnl_link_stats64 s;
	unsigned left;

	if (!NLMSG_OK(reply, len) || reply->nlmsg_type != RTM_NEWSTATS ||
	    reply->nlmsg_len < NLMSG_LENGTH(sizeof(struct if_stats_msg)))
		return -EBADMSG;
	a = (const void *)((const char *)NLMSG_DATA(reply) +
			   NLMSG_ALIGN(sizeof(struct if_stats_msg)));
	left = (unsigned)NLMSG_PAYLOAD(reply, sizeof(struct if_stats_msg));
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_STATS_LINK_64 && RTA_PAYLOAD(a) >= sizeof(s)) {
			memcpy(&s, RTA_DATA(a), sizeof(s));
			*out = (struct tap_counts){ s.rx_bytes, s.rx_packets, s.tx_bytes,
						    s.tx_packets };
			return 0;
		}
	return -EBADMSG;
}

/* The kernel has answered when it is sent. */
int tap_count(const struct tap *t, struct tap_counts *out)
{
	struct {
		struct nlmsghdr header;
		struct if_stats_msg what;
	} ask = { .header = { .nlmsg_len = sizeof(ask),
			      .nlmsg_type = RTM_GETSTATS,
			      .nlmsg_flags = NLM_F_REQUEST },
		  .what = { .ifindex = t->index,
			    .filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64) } };
	_Alignas(struct nlmsghdr) char reply[4096];
	CLEANUP(fd) int sock = -1;
	ssize_t n;

	if (t->link_fd < 0)
		return -ENOTSUP;
	sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (sock < 0 || socket_send(sock, &ask, sizeof(ask), 0) < 0)
		return -errno;
	n = socket_receive(sock, reply, sizeof(reply), 0);
	return n < 0 ? -errno : parse_counts((void *)reply, (size_t)n, out);
}

int tap_attach_pair(struct tap *t, unsigned pair, bool attached)
{
	struct ifreq ifr = { .ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	if (t->npairs == 1 || t->attached[pair] == attached)
		return 0;
	if (ioctl(t->fd[pair], TUNSETQUEUE, &ifr) < 0)
		return -errno;
	t->attached[pair] = attached;
	return 0;
}
