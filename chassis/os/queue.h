/* A first-in first-out queue of tasks, linked through the tasks themselves.
 *
 * Invariants: `tail` points at the last link's next pointer; a task in a queue has `queued` set.
 * Threads: none of its own.
 */
#ifndef CHASSIS_OS_QUEUE_H
#define CHASSIS_OS_QUEUE_H

#include <stddef.h>

#include <chassis/executor.h>

struct chassis_queue {
    struct chassis_task *head, **tail;
    size_t n;
};

static inline void chassis_queue_init(struct chassis_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
    queue->n = 0;
}
static inline void chassis_queue_push(struct chassis_queue *queue, struct chassis_task *task)
{
    task->queued = true;
    task->next = NULL;
    *queue->tail = task;
    queue->tail = &task->next;
    queue->n++;
}
/* The task is out of the queue afterwards and may be posted again or freed by its own run. */
static inline struct chassis_task *chassis_queue_pop(struct chassis_queue *queue)
{
    struct chassis_task *task = queue->head;
    if (task == NULL) {
        return NULL;
    }
    queue->head = task->next;
    if (queue->head == NULL) {
        queue->tail = &queue->head;
    }
    queue->n--;
    task->next = NULL;
    task->queued = false;
    return task;
}
/* Everything from `from`, which is empty afterwards; `to` need not be initialised. */
static inline void chassis_queue_take_all(struct chassis_queue *to, struct chassis_queue *from)
{
    if (from->head == NULL) {
        chassis_queue_init(to); /* an empty queue's tail points into itself: never copied */
        return;
    }
    *to = *from;
    chassis_queue_init(from);
}

#endif
