#ifndef TASKBRIDGE_CSQLITE_SHIM_H
#define TASKBRIDGE_CSQLITE_SHIM_H
/* What Swift cannot call by itself: `sqlite3_config` is variadic. The rest of SQLite comes through GRDBSQLite. */

int sqlite3_config(int option, ...);

/* SQLITE_CONFIG_MEMSTATUS: without it every allocation takes a lock of the whole process, to count bytes nobody reads. */
static inline int taskbridge_sqlite_without_memory_statistics(void) { return sqlite3_config(9, 0); }

#endif
