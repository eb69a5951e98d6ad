/* A service that lives on events: it counts and logs what echo was told. Run several: as members of
 * one group they share the events, and what one of them does not handle another gets. */
#include <chassis/chassis.h>

static int heard(const struct chassis_event *event, void *data)
{
    struct chassis *c = data;
    chassis_counter_add(chassis_counter("audit_events_total", "Events that were audited.", NULL, 0),
                        1);
    chassis_log_info(chassis_logger(c), "heard", chassis_f_view("who", event->source),
                     chassis_f_view("what", event->data), chassis_f_view("id", event->id),
                     chassis_f_u64("sequence", event->sequence));
    return 0; /* done: anything else, and the event comes again */
}

int main(int argc, char **argv)
{
    static const struct chassis_subscribe_options group = {.group = "audit", .earliest = true};
    struct chassis *c = chassis_new("audit", argc, argv);
    chassis_with_broker(c, &chassis_broker_catalyst);
    chassis_with_subscription(c, "catalyst", "echo.*", &group, heard, c);
    chassis_register(c, "examples", NULL, 0);
    return chassis_run(c);
}
