#include "catalyst/broker/rpc.h"

#include "catalyst/broker/session.h"

void cat_views_init(struct cat_views *views, struct cat_broker *broker, struct cat_groups *groups,
                    struct chassis_executor *loop)
{
    *views = (struct cat_views){.broker = broker, .groups = groups, .loop = loop};
    chassis_list_init(&views->sessions);
    chassis_list_init(&views->producers);
    pthread_mutex_init(&views->lock, NULL);
}

void cat_views_fini(struct cat_views *views)
{
    pthread_mutex_destroy(&views->lock);
}

void cat_views_drain(struct cat_views *views)
{
    struct chassis_error err;
    chassis_error_set(&err, CHASSIS_SHUTTING_DOWN,
                      "the service is shutting down: go on at another node or later");
    views->draining = true;
    while (!chassis_list_empty(&views->sessions)) {
        cat_session_stop(chassis_list_entry(views->sessions.next, struct cat_session, link), &err);
    }
    pthread_mutex_lock(&views->lock);
    views->producers_told = true;
    chassis_list_foreach (it, &views->producers) {
        struct cat_producer_link *link = chassis_list_entry(it, struct cat_producer_link, link);
        link->told = true;
        link->drain(link);
    }
    pthread_mutex_unlock(&views->lock);
}

void cat_views_add_producer(struct cat_views *views, struct cat_producer_link *link)
{
    pthread_mutex_lock(&views->lock);
    chassis_list_append(&views->producers, &link->link);
    if (views->producers_told) {
        link->told = true;
        link->drain(link);
    }
    pthread_mutex_unlock(&views->lock);
}

bool cat_views_remove_producer(struct cat_views *views, struct cat_producer_link *link)
{
    pthread_mutex_lock(&views->lock);
    chassis_list_remove(&link->link);
    bool told = link->told;
    pthread_mutex_unlock(&views->lock);
    return !told;
}
