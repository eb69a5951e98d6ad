/* kafka_mock: the mock cluster of librdkafka as a process, for tests that restart what uses it.
 *
 *   kafka_mock BROKERS TOPIC…
 *
 * Makes the topics (one partition, on all brokers), prints the bootstrap servers on a line and then
 * obeys lines from standard input, each answered by "ok", until that ends:
 *
 *   down, up      no broker can be reached; all can again
 *   refuse N      the next N requests to store something fail: not authorised
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { API_PRODUCE = 0 };

struct mock {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *cluster;
    int brokers;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "kafka_mock: %s: %s\n", what, why);
    return 1;
}

static int obey(const struct mock *mock, const char *command)
{
    if (strcmp(command, "down") == 0 || strcmp(command, "up") == 0) {
        for (int id = 1; id <= mock->brokers; id++) {
            (command[0] == 'd' ? rd_kafka_mock_broker_set_down
                               : rd_kafka_mock_broker_set_up)(mock->cluster, id);
        }
    } else if (strncmp(command, "refuse ", 7) == 0) {
        for (int n = atoi(command + 7); n > 0; n--) {
            rd_kafka_mock_push_request_errors(mock->cluster, API_PRODUCE, 1,
                                              RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        }
    } else {
        return fail(command, "no such command");
    }
    puts("ok");
    return fflush(stdout);
}

static int start(struct mock *mock, int n_topics, char **topics)
{
    char text[256];
    rd_kafka_conf_t *conf =
        rd_kafka_conf_new(); /* of the client that hosts it, which has no servers */
    rd_kafka_conf_set(conf, "log_level", "3", text, sizeof text);
    mock->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (mock->host == NULL) {
        return fail("host", text);
    }
    mock->cluster = rd_kafka_mock_cluster_new(mock->host, mock->brokers);
    if (mock->cluster == NULL) {
        return fail("cluster", "cannot be made");
    }
    for (int i = 0; i < n_topics; i++) {
        rd_kafka_resp_err_t error =
            rd_kafka_mock_topic_create(mock->cluster, topics[i], 1, mock->brokers);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return fail(topics[i], rd_kafka_err2str(error));
        }
    }
    puts(rd_kafka_mock_cluster_bootstraps(mock->cluster));
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    struct mock mock = {.brokers = argc > 2 ? atoi(argv[1]) : 0};
    if (mock.brokers < 1) {
        return fail("usage", "kafka_mock BROKERS TOPIC…");
    }
    int rc = start(&mock, argc - 2, argv + 2);
    char line[256];
    while (rc == 0 && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        rc = obey(&mock, line);
    }
    if (mock.cluster != NULL) {
        rd_kafka_mock_cluster_destroy(mock.cluster);
    }
    if (mock.host != NULL) {
        rd_kafka_destroy(mock.host);
    }
    return rc;
}
