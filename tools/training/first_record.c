/* Lets a stock Caffe begin in the middle of an LMDB, for a training that is gone on with.

   Caffe's Data layer puts its cursor on the first record when it is made, and back there after the last one; nothing in its
   prototxt says otherwise (db_lmdb.hpp; rand_skip is not read). This library, loaded before liblmdb (LD_PRELOAD), stands in for
   its mdb_cursor_open and mdb_cursor_get: the first time that a cursor goes to the first record, it goes FIRST_RECORD records
   further. All else is liblmdb's own work. Records are passed over by their keys; their values are not read. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* From lmdb.h, whose package a Caffe of one's own need not come with. */
typedef struct { size_t size; void *data; } Value;
typedef unsigned int Database;
enum { FIRST = 0, NEXT = 8 };
typedef int Open(void *transaction, Database database, void **cursor);
typedef int Get(void *cursor, Value *key, Value *value, int operation);

#define MANY 64 /* cursors that were opened and not used yet: one for each GPU */
static void *unused[MANY];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Put `with` where `what` is in the list; whether it was there. */
static int replace(void *what, void *with) {
    int place = 0;
    pthread_mutex_lock(&lock);
    while (place < MANY && unused[place] != what) ++place;
    if (place < MANY) unused[place] = with;
    pthread_mutex_unlock(&lock);
    return place < MANY;
}

/* liblmdb's own function of that name; not found where a program opens liblmdb for itself, as Python does. */
static void *own(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        fprintf(stderr, "error: first_record.c: no %s in the libraries that the program is linked with\n", name);
        abort();
    }
    return found;
}

int mdb_cursor_open(void *transaction, Database database, void **cursor) {
    static Open *open;
    if (!open) open = (Open *)own("mdb_cursor_open");
    int status = open(transaction, database, cursor);
    if (status == 0) replace(NULL, *cursor);
    return status;
}

int mdb_cursor_get(void *cursor, Value *key, Value *value, int operation) {
    static Get *get;
    if (!get) get = (Get *)own("mdb_cursor_get");
    int status = get(cursor, key, value, operation);
    if (operation != FIRST || !replace(cursor, NULL)) return status;
    const char *given = getenv("FIRST_RECORD");
    long wanted = given ? atol(given) : 0;
    for (long at = 0; at < wanted && status == 0; ++at) status = get(cursor, key, value, NEXT);
    fprintf(stderr, "=== the first record is number %ld\n", wanted);
    return status;
}
