/* Identifiers that nobody has to hand out: random (version 4) UUIDs of RFC 9562, from the kernel's
 * generator.
 *
 * Threads: any.
 */
#ifndef CHASSIS_UUID_H
#define CHASSIS_UUID_H

enum { CHASSIS_UUID_SIZE = 37 }; /* 36 characters and a NUL */

/* "0b5e8a2e-6c3f-4d0a-9c1e-5b7f2a9d4e61" */
void chassis_uuid(char ret_uuid[CHASSIS_UUID_SIZE]);

#endif
