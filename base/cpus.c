#define _GNU_SOURCE /* sched_getaffinity */
#include "base/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE = 4096, /* of the files we read; longer lines are skipped */
    MOST_CPUS = 1 << 16,
};

/* A line without its newline. False at the end of the file. */
static bool next_line(FILE *file, char *line)
{
    while (fgets(line, LINE, file) != NULL) {
        size_t length = strlen(line);
        if (length > 0 && line[length - 1] == '\n') {
            line[length - 1] = '\0';
            return true;
        }
        if (length + 1 < LINE) {
            return true; /* the last one */
        }
        for (int c = 0; c != EOF && c != '\n';) {
            c = fgetc(file);
        }
    }
    return false;
}

static FILE *open_below(const char *root, const char *path, const char *name)
{
    char whole[2 * LINE];
    int length = snprintf(whole, sizeof whole, "%s%s%s", root, path, name);
    return length > 0 && (size_t)length < sizeof whole ? fopen(whole, "re") : NULL;
}

/* The first line of a small file; false when there is none. */
static bool read_line(const char *root, const char *folder, const char *name, char *line)
{
    FILE *file = open_below(root, folder, name);
    if (file == NULL) {
        return false;
    }
    bool found = next_line(file, line);
    fclose(file);
    return found;
}

/* Whether "cpu" is one of the words of a list "cpu,cpuacct". */
static bool has_cpu(const char *list)
{
    for (const char *word = list; word != NULL; word = strchr(word, ',') != NULL ? strchr(word, ',') + 1 : NULL) {
        if (strncmp(word, "cpu", 3) == 0 && (word[3] == ',' || word[3] == '\0')) {
            return true;
        }
    }
    return false;
}

/* The process's group in the hierarchy of version 2 (unified) or in version 1's with the CPU controller. */
static bool find_group(const char *root, bool unified, char *group)
{
    FILE *file = open_below(root, "/proc/self/cgroup", "");
    bool found = false;
    char line[LINE];
    while (!found && file != NULL && next_line(file, line)) {
        char *controllers = strchr(line, ':'), *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path++ = '\0';
        found = unified ? controllers[1] == '\0' : has_cpu(controllers + 1);
        if (found) {
            memcpy(group, path, strlen(path) + 1);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* One line of mountinfo: "36 35 98:0 ROOT POINT options... - TYPE source SUPER-OPTIONS". Cuts the line into parts;
 * false: no hierarchy of the kind. */
static bool parse_mount(char *line, bool unified, const char **mount_root, const char **point)
{
    char *fields[5], *tail = strstr(line, " - "), *rest = line;
    if (tail == NULL) {
        return false;
    }
    *tail = '\0';
    tail += 3;
    for (int i = 0; i < 5; i++) {
        fields[i] = strsep(&rest, " ");
        if (fields[i] == NULL) {
            return false;
        }
    }
    const char *type = strsep(&tail, " ");
    strsep(&tail, " ");
    *mount_root = fields[3];
    *point = fields[4];
    return unified ? strcmp(type, "cgroup2") == 0 : strcmp(type, "cgroup") == 0 && tail != NULL && has_cpu(tail);
}

/* Whole CPUs that one group allows; 0: any number. */
static size_t group_limit(const char *root, const char *folder, bool unified)
{
    char text[LINE], period_text[LINE];
    long long quota = 0, period = 0;
    if (unified) {
        if (!read_line(root, folder, "/cpu.max", text) || sscanf(text, "%lld %lld", &quota, &period) != 2) {
            return 0; /* "max 100000" is no number */
        }
    } else if (read_line(root, folder, "/cpu.cfs_quota_us", text) &&
               read_line(root, folder, "/cpu.cfs_period_us", period_text)) {
        quota = strtoll(text, NULL, 10); /* -1: no limit */
        period = strtoll(period_text, NULL, 10);
    }
    if (quota <= 0 || period <= 0 || quota / period >= MOST_CPUS) {
        return 0;
    }
    return quota < period ? 1 : (size_t)(quota / period);
}

static size_t smaller_limit(size_t a, size_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The smallest limit from `group` up to where the hierarchy is mounted. */
static size_t climb(const char *root, const char *mount_root, const char *point, const char *group, bool unified)
{
    char folder[2 * LINE];
    size_t shared = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root), length = strlen(point);
    /* A container may see only its own part of the hierarchy: then the group's path begins with the mount's root, or
     * is outside of it. */
    bool inside = strncmp(group, mount_root, shared) == 0 && (group[shared] == '/' || group[shared] == '\0') &&
                  strncmp(group, "/..", 3) != 0;
    snprintf(folder, sizeof folder, "%s%s", point, inside ? group + shared : "");
    size_t limit = 0;
    while (strlen(folder) >= length) {
        size_t end = strlen(folder);
        while (end > length && folder[end - 1] == '/') {
            folder[--end] = '\0';
        }
        limit = smaller_limit(limit, group_limit(root, folder, unified));
        char *slash = strrchr(folder, '/');
        if (slash == NULL) {
            break;
        }
        *slash = '\0';
    }
    return limit;
}

static size_t quota_of(const char *root, bool unified)
{
    char group[LINE], line[LINE];
    const char *mount_root, *point;
    size_t limit = 0;
    FILE *mounts = find_group(root, unified, group) ? open_below(root, "/proc/self/mountinfo", "") : NULL;
    while (mounts != NULL && next_line(mounts, line)) {
        if (parse_mount(line, unified, &mount_root, &point)) {
            limit = smaller_limit(limit, climb(root, mount_root, point, group, unified));
        }
    }
    if (mounts != NULL) {
        fclose(mounts);
    }
    return limit;
}

size_t base_cpus_quota(const char *root)
{
    return smaller_limit(quota_of(root, true), quota_of(root, false));
}

/* CPUs in the calling thread's mask; where the system has none, those that are online. */
static size_t in_mask(void)
{
#ifdef __linux__
    for (size_t cpus = CPU_SETSIZE; cpus <= MOST_CPUS; cpus *= 4) { /* a mask that is too small is refused */
        cpu_set_t *set = CPU_ALLOC(cpus);
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        int count = set != NULL && sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0) {
            return (size_t)count;
        }
    }
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

size_t base_cpus_available(void)
{
    size_t cpus = in_mask(), quota = base_cpus_quota("");
    return quota > 0 && quota < cpus ? quota : cpus;
}
