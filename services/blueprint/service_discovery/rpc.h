/* The view of service_discovery: protobuf to plain structs and back, status codes, streams. */
#ifndef BP_SERVICE_DISCOVERY_RPC_H
#define BP_SERVICE_DISCOVERY_RPC_H

#include <chassis/service.h>

#include "controller.h"

struct chassis_service bp_sd_service(struct bp_sd *sd);

#endif
