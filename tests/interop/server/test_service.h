/* grpc.testing.TestService on the chassis, as gRPC's interoperability document describes it: for
 * gRPC's own clients and for our integration tests. */
#ifndef DRAFT_TESTS_INTEROP_TEST_SERVICE_H
#define DRAFT_TESTS_INTEROP_TEST_SERVICE_H

#include <chassis/service.h>

struct chassis_service test_service(void);

#endif
