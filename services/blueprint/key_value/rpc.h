/* The view of key_value: protobuf to plain structs and back, status codes, streams. */
#ifndef BP_KEY_VALUE_RPC_H
#define BP_KEY_VALUE_RPC_H

#include <chassis/service.h>

#include "controller.h"

struct chassis_service bp_kv_service(struct bp_kv *kv);

#endif
