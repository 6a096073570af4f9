// What both load generators need: a clock, samples with percentiles, a way to give up.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

// Processor time that this process has used.
static inline uint64_t used_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

_Noreturn static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline void *need(void *memory) {
    if (!memory) die("out of memory");
    return memory;
}

// Milliseconds, in any order until `sort_samples`.
typedef struct {
    float *ms;
    size_t count, capacity;
} Samples;

static inline void add_sample(Samples *samples, uint64_t elapsed_ns) {
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? samples->capacity * 2 : 4096;
        samples->ms = need(realloc(samples->ms, samples->capacity * sizeof(float)));
    }
    samples->ms[samples->count++] = (float)elapsed_ns / 1e6f;
}

static inline int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static inline void sort_samples(Samples *samples) {
    if (samples->count) qsort(samples->ms, samples->count, sizeof(float), compare_floats);
}

// The sample below which `part` (0 to 1) of them lie; -1 when there is none. They must be sorted.
static inline float percentile(const Samples *samples, double part) {
    if (!samples->count) return -1;
    size_t index = (size_t)((double)samples->count * part);
    return samples->ms[index < samples->count ? index : samples->count - 1];
}
