/* An HTTP client of a hundred lines, so that tests see every byte. */
#ifndef TESTS_HTTP_RAW_H
#define TESTS_HTTP_RAW_H

#include <chassis/buf.h>

struct raw_answer {
    int status;                 /* 0 = the server closed without answering */
    struct chassis_buf headers; /* as sent */
    struct chassis_buf body;    /* chunks put together */
};
int raw_connect(uint16_t port);
/* `headers`: further lines, each ending in \r\n. Sends "Connection: close". */
void raw_send(int fd, const char *method, const char *path, const char *headers, const void *body,
              size_t len);
/* Read to the end of the connection. */
void raw_read(int fd, struct raw_answer *ret);
void raw_free(struct raw_answer *answer);
/* The value of a header, NULL if absent; static memory. */
const char *raw_header(const struct raw_answer *answer, const char *name);
/* All of it. */
void raw_call(uint16_t port, const char *method, const char *path, const char *headers,
              const char *body, struct raw_answer *ret);

#endif
