#include "proto_test.h"

int main(void)
{
    return scan_tests() + json_tests() + dynamic_tests();
}
