/* Random operations on a group's place against a naive reference. Threads: one. */
#ifndef MODEL_RANDOM_TEST_H
#define MODEL_RANDOM_TEST_H

void random_operations_match_the_reference(void **state);
void random_operations_match_the_reference_with_keys(void **state);

#endif
