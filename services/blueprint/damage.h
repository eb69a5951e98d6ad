/* A damaged store is never served: whoever meets damage is answered DATA_LOSS, the store is marked
 * durably, and the process drains and ends (in the middle of applying: at once). Its next start drops
 * the store and fills it from checkpoint and journal.
 *
 * Threads: main, before the store is used.
 */
#ifndef BP_DAMAGE_H
#define BP_DAMAGE_H

struct chassis;
void bp_damage_watch(struct chassis *c);

#endif
