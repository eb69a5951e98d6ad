/* What services of the platform itself need of the broker module beyond <chassis/plugin/broker.h>. */
#ifndef CHASSIS_BROKER_BROKER_H
#define CHASSIS_BROKER_BROKER_H

#include <stddef.h>

#include <chassis/error.h>

/* The target of a client ("host:port,…" or "draft:///name") for brokers.catalyst.url. CHASSIS_CONFIG. */
int chassis_broker_target(const char *url, char *ret_target, size_t size,
                          struct chassis_error *err);

#endif
