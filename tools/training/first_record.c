/* Lets stock Caffe begin in the middle of an LMDB, so that a training continues with the next record.

   Caffe's Data layer moves its cursor to the first record when the layer is created, and again after the last record. No field
   of its prototxt changes this (db_lmdb.hpp; Caffe does not read rand_skip). This library is loaded before liblmdb (LD_PRELOAD)
   and replaces its mdb_cursor_open and mdb_cursor_get: the first time that a cursor moves to the first record, it moves on by
   FIRST_RECORD records. liblmdb does the rest. Skipping a record reads its key, not its value. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* As in lmdb.h, which is not installed with every Caffe. */
typedef struct { size_t size; void *data; } Value;
typedef unsigned int Database;
enum { FIRST = 0, NEXT = 8 };
typedef int Open(void *transaction, Database database, void **cursor);
typedef int Get(void *cursor, Value *key, Value *value, int operation);

#define MANY 64 /* cursors that are open and not used yet; each GPU has one */
static void *unused[MANY];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Replace `what` in the list by `with`; returns whether it was in the list. */
static int replace(void *what, void *with) {
    int place = 0;
    pthread_mutex_lock(&lock);
    while (place < MANY && unused[place] != what) ++place;
    if (place < MANY) unused[place] = with;
    pthread_mutex_unlock(&lock);
    return place < MANY;
}

/* liblmdb's function `name`. It is not found in a program that loads liblmdb by itself, as Python does. */
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
