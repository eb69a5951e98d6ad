/* A circular doubly linked list whose links are embedded in the elements.
 *
 * Invariants: an initialised head or a removed link points to itself.
 * Threads: none of its own. Ownership: the list owns nothing.
 */
#ifndef CHASSIS_BASE_LIST_H
#define CHASSIS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct chassis_list {
    struct chassis_list *prev, *next;
};

static inline void chassis_list_init(struct chassis_list *l)
{
    l->prev = l->next = l;
}
static inline bool chassis_list_empty(const struct chassis_list *l)
{
    return l->next == l;
}
static inline void chassis_list_append(struct chassis_list *head, struct chassis_list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}
static inline void chassis_list_prepend(struct chassis_list *head, struct chassis_list *link)
{
    chassis_list_append(head->next, link);
}
/* Safe on a link that stands in no list, if it was initialised. */
static inline void chassis_list_remove(struct chassis_list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    chassis_list_init(link);
}

#define chassis_list_entry(link, type, member)                                                     \
    ((type *)(void *)((char *)(link)-offsetof(type, member)))
#define chassis_list_foreach(it, head)                                                             \
    for (struct chassis_list *it = (head)->next; it != (head); it = it->next)
/* The present element may be removed in the body. */
#define chassis_list_foreach_safe(it, head)                                                        \
    for (struct chassis_list *it = (head)->next, *it##_next = it->next; it != (head);              \
         it = it##_next, it##_next = it->next)

#endif
