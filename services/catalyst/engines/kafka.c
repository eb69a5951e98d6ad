/* Streams in Kafka, by librdkafka: one topic each, "draft-<name>", of one partition. An event is one
 * message, its sequence the offset + 1. The producer is idempotent and waits for all replicas in sync.
 * The only user of <librdkafka/rdkafka.h>.
 */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "catalyst/engines/remote.h"

enum {
    ANSWER_MS = 10000,
    PEEK_MS = 2000, /* for a message that may not be there: an offset can be without one */
    PARTITION = 0,
};

struct cat_backend {
    rd_kafka_t *producer, *consumer;
    pthread_t answers; /* takes the producer's delivery reports */
    atomic_bool stopping;
};

struct cat_backend_stream {
    struct cat_backend *backend;
    rd_kafka_topic_t *topic;   /* of the producer */
    rd_kafka_topic_t *reading; /* of the consumer */
    char name[CAT_REMOTE_NAME_MAX];
    uint64_t next; /* where `reading` stands; 0 = it was not started */
};

static int status_from_kafka(rd_kafka_resp_err_t error)
{
    switch ((int)error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return 0;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return CHASSIS_BUSY;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
        return CHASSIS_DEADLINE_EXCEEDED;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return CHASSIS_TOO_LARGE;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return CHASSIS_NOT_FOUND;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return CHASSIS_PERMISSION_DENIED;
    default:
        return CHASSIS_UNAVAILABLE;
    }
}

static int failed(rd_kafka_resp_err_t error, struct chassis_error *err, const char *what,
                  const char *name)
{
    return chassis_error_set(err, status_from_kafka(error), "%s '%s': %s", what, name,
                             rd_kafka_err2str(error));
}

/* ---- connection ---- */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    cat_remote_stored(message->_private, (uint64_t)message->offset + 1,
                      status_from_kafka(message->err), rd_kafka_err2str(message->err));
}

static void *take_answers(void *data)
{
    struct cat_backend *backend = data;
    while (!atomic_load(&backend->stopping)) {
        rd_kafka_poll(backend->producer, 100);
    }
    return NULL;
}

struct setting {
    const char *name, *value;
};

static rd_kafka_t *client_new(rd_kafka_type_t type, const char *servers,
                              const struct setting *settings, size_t n, struct chassis_error *err)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_res_t ok =
        rd_kafka_conf_set(conf, "bootstrap.servers", servers, text, sizeof text);
    for (size_t i = 0; ok == RD_KAFKA_CONF_OK && i < n; i++) {
        ok = rd_kafka_conf_set(conf, settings[i].name, settings[i].value, text, sizeof text);
    }
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    }
    rd_kafka_t *rk = ok == RD_KAFKA_CONF_OK ? rd_kafka_new(type, conf, text, sizeof text) : NULL;
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        chassis_error_set(err, CHASSIS_CONFIG, "configure a client of '%s': %s", servers, text);
    }
    return rk;
}

static int backend_connect(const char *url, struct chassis_logger *log,
                           struct cat_backend **ret_backend, struct chassis_error *err)
{
    static const struct setting producing[] = {
        {"enable.idempotence", "true"},   {"linger.ms", "0"}, {"delivery.timeout.ms", "10000"},
        {"message.max.bytes", "2000000"}, {"log_level", "3"},
    };
    static const struct setting consuming[] = {
        {"enable.auto.commit", "false"},
        {"group.id", "catalyst"},
        {"fetch.wait.max.ms", "20"},
        {"log_level", "3"},
    };
    const char *servers = strncmp(url, "kafka://", 8) == 0 ? url + 8 : url;
    struct cat_backend *backend = chassis_base_alloc(sizeof *backend);
    memset(backend, 0, sizeof *backend);
    backend->producer = client_new(RD_KAFKA_PRODUCER, servers, producing,
                                   sizeof producing / sizeof producing[0], err);
    if (backend->producer != NULL) {
        backend->consumer = client_new(RD_KAFKA_CONSUMER, servers, consuming,
                                       sizeof consuming / sizeof consuming[0], err);
    }
    if (backend->consumer == NULL ||
        pthread_create(&backend->answers, NULL, take_answers, backend) != 0) {
        if (backend->consumer != NULL) {
            rd_kafka_destroy(backend->consumer);
            chassis_error_set(err, CHASSIS_UNAVAILABLE, "no thread for the answers of '%s'",
                              servers);
        }
        if (backend->producer != NULL) {
            rd_kafka_destroy(backend->producer);
        }
        free(backend);
        return CHASSIS_CONFIG;
    }
    *ret_backend = backend;
    return 0;
}

static void backend_disconnect(struct cat_backend *backend)
{
    rd_kafka_flush(backend->producer, ANSWER_MS);
    atomic_store(&backend->stopping, true);
    pthread_join(backend->answers, NULL);
    rd_kafka_destroy(backend->consumer);
    rd_kafka_destroy(backend->producer);
    free(backend);
}

/* ---- streams ---- */

/* Create or delete the topic and wait for the servers' word. */
static rd_kafka_resp_err_t administer(struct cat_backend_stream *stream, bool create)
{
    char text[256];
    rd_kafka_t *rk = stream->backend->producer;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    size_t n = 0;
    const rd_kafka_topic_result_t **results = NULL;
    if (create) {
        rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(stream->name, 1, -1, text, sizeof text);
        rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
        rd_kafka_NewTopic_destroy(topic);
    } else {
        rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(stream->name);
        rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
        rd_kafka_DeleteTopic_destroy(topic);
    }
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ANSWER_MS);
    if (event == NULL) {
        error = RD_KAFKA_RESP_ERR__TIMED_OUT;
    } else if ((error = rd_kafka_event_error(event)) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        results =
            create
                ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n)
                : rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event),
                                                      &n);
        error = n > 0 ? rd_kafka_topic_result_error(results[0]) : error;
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    return error;
}

static rd_kafka_resp_err_t watermarks(struct cat_backend_stream *stream, int64_t *ret_low,
                                      int64_t *ret_high)
{
    return rd_kafka_query_watermark_offsets(stream->backend->consumer, stream->name, PARTITION,
                                            ret_low, ret_high, ANSWER_MS);
}

static void stop_reading(struct cat_backend_stream *stream)
{
    if (stream->next != 0) {
        rd_kafka_consume_stop(stream->reading, PARTITION);
        stream->next = 0;
    }
}

/* When the message at an offset was stored, in milliseconds; -1 if it cannot be read. */
static int64_t time_at(struct cat_backend_stream *stream, int64_t offset)
{
    int64_t ms = -1;
    stop_reading(stream);
    if (rd_kafka_consume_start(stream->reading, PARTITION, offset) != 0) {
        return -1;
    }
    rd_kafka_message_t *message = rd_kafka_consume(stream->reading, PARTITION, PEEK_MS);
    if (message != NULL) {
        ms = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_message_timestamp(message, NULL)
                                                        : -1;
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consume_stop(stream->reading, PARTITION);
    return ms;
}

/* 0 = not known. */
static int64_t time_ns_at(struct cat_backend_stream *stream, int64_t offset)
{
    int64_t ms = time_at(stream, offset);
    return ms > 0 ? ms * 1000000 : 0;
}

static void backend_close(struct cat_backend_stream *stream)
{
    stop_reading(stream);
    rd_kafka_topic_destroy(stream->reading);
    rd_kafka_topic_destroy(stream->topic);
    free(stream);
}

static int backend_open(struct cat_backend *backend, const char *name,
                        struct cat_backend_stream **ret_stream, struct cat_log_state *ret_state,
                        struct chassis_error *err)
{
    struct cat_backend_stream *stream = chassis_base_alloc(sizeof *stream);
    memset(stream, 0, sizeof *stream);
    stream->backend = backend;
    snprintf(stream->name, sizeof stream->name, "%s", name);
    for (char *c = stream->name; *c != '\0'; c++) {
        *c = *c == '=' ? '.' : *c; /* topics may have dots */
    }
    int64_t low = 0, high = 0;
    rd_kafka_resp_err_t error = watermarks(stream, &low, &high);
    if (status_from_kafka(error) == CHASSIS_NOT_FOUND) {
        error = administer(stream, true);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            error = watermarks(stream, &low, &high);
        }
    }
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        int rc = failed(error, err, "open topic", stream->name);
        free(stream);
        return rc;
    }
    stream->topic = rd_kafka_topic_new(backend->producer, stream->name, NULL);
    stream->reading = rd_kafka_topic_new(backend->consumer, stream->name, NULL);
    *ret_state = (struct cat_log_state){
        .first = (uint64_t)low + 1, .last = (uint64_t)high, .readable = (uint64_t)high};
    if (low < high) {
        ret_state->first_time_ns = time_ns_at(stream, low);
        ret_state->last_time_ns = time_ns_at(stream, high - 1);
    }
    *ret_stream = stream;
    return 0;
}

static int backend_destroy(struct cat_backend_stream *stream, struct chassis_error *err)
{
    rd_kafka_resp_err_t error = administer(stream, false);
    int rc = error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                 ? 0
                 : failed(error, err, "remove topic", stream->name);
    backend_close(stream);
    return rc;
}

static int backend_trim(struct cat_backend_stream *stream, uint64_t through,
                        struct chassis_error *err)
{
    rd_kafka_t *rk = stream->backend->producer;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, stream->name, PARTITION)->offset = (int64_t)through;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(rk, &records, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ANSWER_MS);
    rd_kafka_resp_err_t error =
        event != NULL ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : failed(error, err, "remove records of topic", stream->name);
}

/* ---- storing ---- */

static void backend_store(struct cat_backend_stream *stream, struct chassis_view event,
                          int64_t time_ns, struct cat_stored *stored)
{
    rd_kafka_resp_err_t error = rd_kafka_producev(
        stream->backend->producer, RD_KAFKA_V_RKT(stream->topic), RD_KAFKA_V_PARTITION(PARTITION),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)event.data, event.len),
        RD_KAFKA_V_TIMESTAMP(time_ns / 1000000), RD_KAFKA_V_OPAQUE(stored), RD_KAFKA_V_END);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        cat_remote_stored(stored, 0, status_from_kafka(error), rd_kafka_err2str(error));
    }
}

/* ---- reading ---- */

static int seek(struct cat_backend_stream *stream, uint64_t from, struct chassis_error *err)
{
    if (stream->next == from) {
        return 0;
    }
    stop_reading(stream);
    if (rd_kafka_consume_start(stream->reading, PARTITION, (int64_t)from - 1) != 0) {
        return failed(rd_kafka_last_error(), err, "read topic", stream->name);
    }
    stream->next = from;
    return 0;
}

static int read_events(struct cat_backend_stream *stream, uint64_t through, uint32_t events_max,
                       int (*each)(void *data, const struct cat_log_event *event), void *data,
                       struct chassis_error *err)
{
    for (uint32_t n = 0; n < events_max && stream->next <= through; n++) {
        rd_kafka_message_t *message = rd_kafka_consume(stream->reading, PARTITION, ANSWER_MS);
        if (message == NULL) {
            return failed(RD_KAFKA_RESP_ERR__TIMED_OUT, err, "read topic", stream->name);
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            int rc = failed(message->err, err, "read topic", stream->name);
            rd_kafka_message_destroy(message);
            return rc;
        }
        struct cat_log_event event = {
            .sequence = (uint64_t)message->offset + 1,
            .time_ns = rd_kafka_message_timestamp(message, NULL) * 1000000,
            .bytes = chassis_view(message->payload, message->len),
        };
        int stop = each(data, &event);
        stream->next = event.sequence + 1;
        rd_kafka_message_destroy(message);
        if (stop != 0) { /* it was not taken: it must be read again */
            stop_reading(stream);
            return 0;
        }
    }
    return 0;
}

static int backend_read(struct cat_backend_stream *stream, uint64_t from, uint32_t events_max,
                        int (*each)(void *data, const struct cat_log_event *event), void *data,
                        struct chassis_error *err)
{
    int64_t low, high;
    rd_kafka_resp_err_t error = watermarks(stream, &low, &high);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return failed(error, err, "ask for topic", stream->name);
    }
    if (from <= (uint64_t)low) {
        return chassis_error_set(
            err, CHASSIS_NOT_FOUND, "event %llu of topic '%s' is gone: the first kept is %llu",
            (unsigned long long)from, stream->name, (unsigned long long)low + 1);
    }
    int rc = from <= (uint64_t)high ? seek(stream, from, err) : 0;
    return rc != 0 || from > (uint64_t)high
               ? rc
               : read_events(stream, (uint64_t)high, events_max, each, data, err);
}

/* The first offset of a time or later, from the messages themselves: times do not fall. Servers
 * without an index of times (message formats before 0.10) name none. */
static int64_t search_time(struct cat_backend_stream *stream, int64_t low, int64_t high, int64_t ms)
{
    if (low >= high || time_at(stream, high - 1) < ms) {
        return high;
    }
    int64_t first = low, last = high - 1; /* the last is not before it */
    while (first < last) {
        int64_t middle = first + (last - first) / 2;
        if (time_at(stream, middle) < ms) {
            first = middle + 1;
        } else {
            last = middle;
        }
    }
    return last;
}

static int backend_at_time(struct cat_backend_stream *stream, int64_t time_ns,
                           uint64_t *ret_sequence, struct chassis_error *err)
{
    int64_t low, high;
    rd_kafka_resp_err_t error = watermarks(stream, &low, &high);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *partition =
        rd_kafka_topic_partition_list_add(list, stream->name, PARTITION);
    int64_t ms = time_ns / 1000000 + (time_ns % 1000000 > 0); /* Kafka counts milliseconds */
    partition->offset = ms;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        error = rd_kafka_offsets_for_times(stream->backend->consumer, list, ANSWER_MS);
    }
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        error = partition->err;
    }
    int64_t offset = partition->offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return failed(error, err, "find a time in topic", stream->name);
    }
    *ret_sequence = (uint64_t)(offset < 0 ? search_time(stream, low, high, ms) : offset) + 1;
    return 0;
}

static const struct cat_backend_ops ops = {
    .name = "kafka",
    .connect = backend_connect,
    .disconnect = backend_disconnect,
    .open = backend_open,
    .close = backend_close,
    .destroy = backend_destroy,
    .read = backend_read,
    .at_time = backend_at_time,
    .trim = backend_trim,
    .store = backend_store,
};

int cat_engine_plugin_open(const struct cat_engine_plugin_options *options,
                           struct cat_log_engine **ret_engine, struct chassis_error *err)
{
    return cat_remote_open(&ops, options, ret_engine, err);
}
