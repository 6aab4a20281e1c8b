/* How many CPUs this process may keep busy: for the size of a pool of threads. Reads the scheduler's mask and files
 * below /proc and /sys; no state, any thread. stdio's buffers come from malloc. */
#ifndef BASE_CPUS_H
#define BASE_CPUS_H

#include <stddef.h>

/* CPUs in the calling thread's affinity mask, and no more than whole CPUs of the control groups' quota; at least 1. */
size_t base_cpus_available(void);

/* The quota of the process's control group and of all groups above it, version 1 or 2: the smallest quota / period,
 * rounded down (a thread for a part of a CPU would be throttled), at least 1; 0: no limit, or none that can be read.
 * `root` goes before all paths that are read, "/proc/self/cgroup", "/proc/self/mountinfo" and those of the mounted
 * hierarchies: "" for this machine. */
size_t base_cpus_quota(const char *root);

#endif
