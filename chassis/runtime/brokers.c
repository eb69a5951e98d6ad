/* The stages of events: brokers, and what the service subscribes to. */
#include "runtime/internal.h"

enum { FLUSH_MS = 2000 };

const char *broker_url(const struct chassis *c, const char *kind)
{
    const struct chassis_config_pairs *urls = &c->settings.broker_urls;
    for (size_t i = 0; i < urls->n; i++) {
        if (strcmp(urls->items[i].name, kind) == 0 && urls->items[i].value[0] != '\0') {
            return urls->items[i].value;
        }
    }
    return NULL;
}

int stage_brokers(struct chassis *c, struct chassis_error *err)
{
    struct chassis_tls_files tls = {c->settings.tls_ca, c->settings.tls_certificate,
                                    c->settings.tls_key, NULL};
    for (unsigned i = 0; i < c->n_brokers; i++) {
        struct runtime_broker *b = &c->brokers[i];
        const char *url = broker_url(c, b->plugin->kind);
        if (url == NULL) {
            continue;
        }
        struct chassis_broker_options options = {
            .url = url,
            .service = c->settings.name,
            .loop = chassis_loop_executor(c->loop),
            .workers = chassis_os_pool_executor(c->workers),
            .tls = c->identity != NULL ? &tls : NULL,
            .resolver = c->registry != NULL ? chassis_registry_resolver(c->registry) : NULL,
        };
        int rc = b->plugin->open(&options, &b->broker, err);
        if (rc != 0) {
            unstage_brokers(c);
            return rc;
        }
    }
    return 0;
}

void unstage_brokers(struct chassis *c)
{
    for (unsigned i = 0; i < c->n_brokers; i++) {
        struct chassis_broker *broker = c->brokers[i].broker;
        if (broker != NULL) {
            broker->ops->close(broker, FLUSH_MS);
            c->brokers[i].broker = NULL;
        }
    }
}

int stage_subscriptions(struct chassis *c, struct chassis_error *err)
{
    for (unsigned i = 0; i < c->n_subscriptions; i++) {
        struct runtime_subscription *s = &c->subscriptions[i];
        struct chassis_broker *broker = chassis_broker(c, s->kind);
        int rc = broker != NULL
                     ? chassis_subscribe(broker, s->type, &s->options, s->handler, s->data,
                                         &s->subscription, err)
                     : chassis_error_set(err, CHASSIS_CONFIG,
                                         "brokers.%s.url is not set, and this service lives on "
                                         "events ('%s')",
                                         s->kind, s->type != NULL ? s->type : "*");
        if (rc != 0) {
            unstage_subscriptions(c);
            return rc;
        }
    }
    return 0;
}

void unstage_subscriptions(struct chassis *c)
{
    for (unsigned i = c->n_subscriptions; i-- > 0;) {
        chassis_unsubscribe(c->subscriptions[i].subscription);
        c->subscriptions[i].subscription = NULL;
    }
}
