/* What the tests with a real HAProxy stand on: servers that say who they are, and a client.
 *
 * Threads: the servers are one thread of their own; a client belongs to one thread.
 */
#ifndef TESTS_FUSE_HAPROXY_LAB_H
#define TESTS_FUSE_HAPROXY_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A port nobody listens on, on any loopback address. */
uint16_t lab_free_port(void);

/* n HTTP/1.1 servers: number i at 127.1.x.y:port. Each answers 200 with
 *     x-server: <i>    x-path: <path with query>
 * but "/hold…" only after lab_servers_release, 500 for a path with "fail=<i>", and "/ws" by switching to
 * a connection that gives back what it gets. */
struct lab_servers;
struct lab_servers *lab_servers_start(unsigned n);
void lab_servers_stop(struct lab_servers *servers);
uint16_t lab_servers_port(const struct lab_servers *servers);
void lab_address(unsigned i, char out[24]);
/* Requests that are held, and answered, by server i. */
unsigned lab_servers_held(struct lab_servers *servers, unsigned i);
void lab_servers_release(struct lab_servers *servers);
/* Server i takes no more connections; those it has go on. */
void lab_servers_close(struct lab_servers *servers, unsigned i);

struct lab_answer {
    int status; /* 0 = no answer */
    int server; /* -1 = not from a server */
    bool closes;
    char path[4096];
};
struct lab_client {
    uint16_t port;
    int fd; /* -1 = none */
};
/* One request, the head given whole, over the client's connection (made anew when it is closed). */
void lab_ask(struct lab_client *client, const char *head, struct lab_answer *ret_answer);
/* Send and answer apart. */
bool lab_send(struct lab_client *client, const char *head);
void lab_receive(struct lab_client *client, struct lab_answer *ret_answer);
void lab_client_close(struct lab_client *client);
/* GET of this path and host. */
void lab_get(struct lab_client *client, const char *host, const char *path,
             struct lab_answer *ret_answer);

#endif
