#ifndef DRAFT_TESTS_UNIT_PROTO_TEST_H
#define DRAFT_TESTS_UNIT_PROTO_TEST_H

#include "test.h"

#include "all.pb-c.h"
#include "proto/message.h"

#define ALL (&draft__test__v1__all__descriptor)

int scan_tests(void);
int json_tests(void);
int dynamic_tests(void);

#endif
