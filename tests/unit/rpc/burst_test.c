/* What a thread writes between begin and end, over real sockets. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <sys/socket.h>

#include "rpc/burst.h"

struct line {
    int from, to;
};

static struct line line_open(void)
{
    struct line line;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    line.to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(line.to, (struct sockaddr *)&at, sizeof at), 0);
    line.from = accept(listener, NULL, NULL);
    assert_true(line.from >= 0);
    close(listener);
    assert_int_equal(setsockopt(line.from, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    assert_int_equal(fcntl(line.from, F_SETFL, O_NONBLOCK), 0);
    return line;
}

static void line_close(struct line *line)
{
    close(line->from);
    close(line->to);
}

static ssize_t send_text(int fd, const void *text, size_t len)
{
    struct iovec part = {(void *)(uintptr_t)text, len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void expect(int fd, const char *text)
{
    char got[256];
    size_t have = 0, want = strlen(text);
    while (have < want) {
        ssize_t n = read(fd, got + have, want - have);
        assert_true(n > 0);
        have += (size_t)n;
    }
    assert_memory_equal(got, text, want);
}

static unsigned segments(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_data_segs_out;
}

static void what_is_written_in_a_turn_leaves_together_and_in_order(void **state)
{
    struct line a = line_open(), b = line_open();
    rpc_burst_begin();
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(send_text(a.from, &"abcdefghijklmnopqrst"[i], 1), 1);
        assert_int_equal(send_text(b.from, &"ABCDEFGHIJKLMNOPQRST"[i], 1), 1);
    }
    rpc_burst_end();
    expect(a.to, "abcdefghijklmnopqrst");
    expect(b.to, "ABCDEFGHIJKLMNOPQRST");
    assert_in_range(segments(a.from), 1, 10); /* one, unless this thread stood still for long */
    assert_in_range(segments(b.from), 1, 10);
    unsigned before = segments(a.from);
    assert_int_equal(send_text(a.from, "x", 1), 1); /* out of a turn: at once */
    expect(a.to, "x");
    assert_int_equal(segments(a.from), before + 1);
    line_close(&a);
    line_close(&b);
}

static void the_last_write_takes_along_what_waits(void **state)
{
    struct line a = line_open(), b = line_open();
    rpc_burst_begin();
    assert_int_equal(send_text(a.from, "first ", 6), 6);
    assert_int_equal(send_text(b.from, "other", 5), 5);
    rpc_burst_last();
    assert_int_equal(send_text(a.from, "last", 4), 4);
    expect(a.to, "first last");
    rpc_burst_end();
    expect(b.to, "other");
    line_close(&a);
    line_close(&b);
}

static void a_long_turn_lets_the_client_begin(void **state)
{
    struct line a = line_open();
    rpc_burst_begin();
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(send_text(a.from, "z", 1), 1);
    }
    expect(a.to, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
    rpc_burst_end();
    line_close(&a);
}

static void more_sockets_than_are_remembered_lose_nothing(void **state)
{
    enum { LINES = 100 };
    struct line lines[LINES];
    for (unsigned i = 0; i < LINES; i++) {
        lines[i] = line_open();
    }
    rpc_burst_begin();
    for (unsigned i = 0; i < LINES; i++) {
        assert_int_equal(send_text(lines[i].from, "hello", 5), 5);
    }
    rpc_burst_end();
    for (unsigned i = 0; i < LINES; i++) {
        expect(lines[i].to, "hello");
        line_close(&lines[i]);
    }
}

static void a_slow_reader_is_told_of_and_gets_every_byte(void **state)
{
    static uint8_t block[10000], got[10000];
    struct line a = line_open();
    size_t sent = 0, received = 0, total = 20UL << 20;
    unsigned full = 0;
    while (received < total) {
        rpc_burst_begin();
        for (unsigned i = 0; i < 8 && sent < total; i++) {
            size_t len = total - sent < sizeof block ? total - sent : sizeof block;
            for (size_t k = 0; k < len; k++) {
                block[k] = (uint8_t)((sent + k) % 251);
            }
            ssize_t n = send_text(a.from, block, len);
            full += n < 0;
            assert_true(n > 0 || errno == EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
        }
        rpc_burst_end();
        if (sent < total && full == 0) {
            continue; /* until it is full once */
        }
        ssize_t n = read(a.to, got, sizeof got);
        assert_true(n > 0);
        for (ssize_t k = 0; k < n; k++) {
            assert_int_equal(got[k], (received + (size_t)k) % 251);
        }
        received += (size_t)n;
    }
    assert_true(full != 0);
    line_close(&a);
}

static void a_socket_closed_in_the_turn_sends_what_it_has(void **state)
{
    struct line a = line_open();
    char byte;
    rpc_burst_begin();
    assert_int_equal(send_text(a.from, "goodbye", 7), 7);
    int other = open("/dev/null", O_WRONLY | O_CLOEXEC); /* no socket at all */
    assert_int_equal(dup2(other, a.from), a.from);
    rpc_burst_end();
    expect(a.to, "goodbye");
    assert_int_equal(read(a.to, &byte, 1), 0);
    assert_int_equal(write(a.from, "x", 1), 1);
    close(other);
    line_close(&a);
}

static void a_number_used_again_sends_and_only_its_own(void **state)
{
    struct line a = line_open(), b = line_open();
    char byte;
    rpc_burst_begin();
    assert_int_equal(send_text(a.from, "one", 3), 3);
    assert_int_equal(dup2(b.from, a.from), a.from); /* closes what had the number */
    close(b.from);
    b.from = a.from;
    assert_int_equal(send_text(b.from, "two", 3), 3);
    rpc_burst_end();
    expect(a.to, "one");
    assert_int_equal(read(a.to, &byte, 1), 0);
    expect(b.to, "two");
    line_close(&b);
    close(a.to);
}

static void other_kinds_of_sockets_are_left_alone(void **state)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    rpc_burst_begin();
    assert_int_equal(send_text(pair[0], "local", 5), 5);
    rpc_burst_end();
    expect(pair[1], "local");
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(send_text(-1, "x", 1), -1);
    assert_int_equal(errno, EBADF);
}

/* As gRPC writes it: a WINDOW_UPDATE of a stream and one of the connection, in two pieces. */
static void send_update(int fd, uint32_t increment)
{
    uint8_t bytes[26] = {0, 0, 4, 8, 0, 0, 0, 0, 1, [13] = 0, 0, 4, 8};
    for (unsigned i = 0; i < 4; i++) {
        bytes[9 + i] = bytes[22 + i] = (uint8_t)(increment >> (24 - 8 * i));
    }
    struct iovec parts[2] = {{bytes, 23}, {bytes + 23, 3}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), 26);
}

static void skip_bytes(int fd, size_t len)
{
    char byte;
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(read(fd, &byte, 1), 1);
    }
}

static void small_window_updates_wait_for_the_next_write(void **state)
{
    struct line a = line_open();
    for (unsigned i = 0; i < 20; i++) {
        send_update(a.from, 51);
    }
    assert_in_range(segments(a.from), 0, 10); /* none, unless this thread stood still for long */
    assert_int_equal(send_text(a.from, "data", 4), 4);
    skip_bytes(a.to, 20 * 26);
    expect(a.to, "data");
    unsigned before = segments(a.from);
    assert_int_equal(send_text(a.from, "more", 4), 4); /* nothing is held back any longer */
    expect(a.to, "more");
    assert_int_equal(segments(a.from), before + 1);
    line_close(&a);
}

static void window_updates_leave_before_a_sender_could_wait(void **state)
{
    struct line a = line_open();
    send_update(a.from, 20000); /* much at once */
    skip_bytes(a.to, 26);
    for (unsigned i = 0; i < 20; i++) { /* 20 times 1,000 */
        send_update(a.from, 1000);
    }
    skip_bytes(a.to, 16 * 26);
    assert_in_range(segments(a.from), 1, 12);
    close(a.from); /* what waits is sent */
    skip_bytes(a.to, 4 * 26);
    close(a.to);
}

static void a_lone_window_update_is_sent_in_the_end(void **state)
{
    struct line a = line_open();
    send_update(a.from, 5);
    skip_bytes(a.to, 26); /* the kernel's 200 ms */
    line_close(&a);
}

static void what_only_looks_like_a_window_update_is_sent(void **state)
{
    struct line a = line_open();
    assert_int_equal(send_text(a.from, "abcdefghijklm", 13), 13);
    expect(a.to, "abcdefghijklm");
    assert_int_equal(send_text(a.from, "\0\0\4\6\0\0\0\0\0\0\0\0\1", 13), 13);
    skip_bytes(a.to, 13);
    assert_int_equal(segments(a.from), 2);
    line_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_in_a_turn_leaves_together_and_in_order),
        cmocka_unit_test(the_last_write_takes_along_what_waits),
        cmocka_unit_test(a_long_turn_lets_the_client_begin),
        cmocka_unit_test(more_sockets_than_are_remembered_lose_nothing),
        cmocka_unit_test(a_slow_reader_is_told_of_and_gets_every_byte),
        cmocka_unit_test(a_socket_closed_in_the_turn_sends_what_it_has),
        cmocka_unit_test(a_number_used_again_sends_and_only_its_own),
        cmocka_unit_test(small_window_updates_wait_for_the_next_write),
        cmocka_unit_test(window_updates_leave_before_a_sender_could_wait),
        cmocka_unit_test(a_lone_window_update_is_sent_in_the_end),
        cmocka_unit_test(what_only_looks_like_a_window_update_is_sent),
        cmocka_unit_test(other_kinds_of_sockets_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
