/* Dead letters as events: made of the event that could not be delivered, read, and turned back.
 *
 * A dead letter is the event with the extension attributes
 *     deadreason     string     why, as its consumer said, or what the service saw
 *     deadstream     string     where it stands, or stood
 *     deadgroup      string     the group that gave up on it
 *     deadsequence   string     decimal: its sequence in deadstream
 *     deadattempts   integer    how often it was delivered
 *     deadfirsttime  timestamp  of the first delivery
 *     deadtime       timestamp  when it was given up
 *     deadid         string     its id, if it could not keep it: another dead letter has that, or had
 *                               before it was replayed. The new one is the same whenever the letter
 *                               of this death is made again
 * and without expirytime, notbefore and delayms, which would hide it.
 *
 * Threads: any. Ownership: views borrow from the event.
 */
#ifndef CAT_GROUPS_LETTER_H
#define CAT_GROUPS_LETTER_H

#include "catalyst/event/event.h"

struct cat_letter {
    struct chassis_view reason, stream, group;
    uint64_t sequence;
    uint64_t came_back_from; /* another letter of this event; 0 = none, or read from an event */
    uint32_t attempts;
    int64_t first_ms, dead_ms; /* since the epoch */
};
struct cat_letter_form {
    bool bare;        /* without data and other attributes: with them it is too large */
    uint32_t renames; /* how often its id was found to be another letter's */
};

/* What is no text of CloudEvents in the reason becomes '?'. */
void cat_letter_build(const struct cat_event *event, const struct cat_letter *letter,
                      struct cat_letter_form form, struct chassis_buf *out);
/* False: this event is no dead letter of this service. */
bool cat_letter_read(const struct cat_event *event, struct cat_letter *ret_letter);
/* The same event of the same group. */
bool cat_letter_same(const struct cat_letter *a, const struct cat_letter *b);
/* The event as it was; `group` not empty: with deadreplay, so that only this group takes it. */
void cat_letter_restore(const struct cat_event *event, struct chassis_view group,
                        struct chassis_buf *out);

#endif
