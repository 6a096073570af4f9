// One live stream: some viewers talk and all react, each at a pace that does not depend on the server; everybody is
// shown what is said, and how often was reacted.
#define _GNU_SOURCE
#include <string.h>

#include "counting.h"

// One viewer in so many has each of its deliveries timed; all are counted.
#define ONE_IN 10
// What is silent for so long has lost what is missing.
#define PATIENCE (30 * SECOND)

static uint64_t frames;  // texts that arrived, of every kind
static uint64_t skipped; // messages that a server left out for viewers that lag, and told them of
static uint64_t reacted; // reactions sent
static uint64_t shown;   // reactions in the sums that the first viewer got

// The sum of the numbers in the object that follows `key`; 0 where there is none.
static uint64_t sum_in(const uint8_t *payload, size_t length, const char *key) {
    const uint8_t *end = payload + length, *at = memmem(payload, length, key, strlen(key));
    uint64_t sum = 0;
    if (!at) return 0;
    for (at += strlen(key); at < end && *at != '}'; at++) {
        if (*at != ':') continue;
        uint64_t value = 0;
        while (at + 1 < end && at[1] >= '0' && at[1] <= '9') value = value * 10 + (uint64_t)(*++at - '0');
        sum += value;
    }
    return sum;
}

static bool says(const Socket *socket, const uint8_t *payload, size_t length, const char *kind) {
    return socket->dialect == VEZA && memmem(payload, length < 60 ? length : 60, kind, strlen(kind));
}

static void hear(Socket *socket, const uint8_t *payload, size_t length) {
    frames++;
    if (take_reply(socket, payload, length) || refused(socket, payload, length)) return;
    uint64_t before = counted.deliveries;
    count_deliveries(socket, payload, length);
    if (counted.deliveries != before) return;
    if (says(socket, payload, length, "\"stream_messages_skipped\"")) {
        const uint8_t *count = memmem(payload, length, "\"count\":", 8);
        if (count) skipped += strtoull((const char *)count + 8, NULL, 10);
    } else if (socket == sockets.all) {
        const char *key = socket->dialect == VEZA ? "\"counts\":{" : "[\"reactions\",{";
        shown += sum_in(payload, length, key);
    }
}

static void say(int talkers) {
    // Spread over all, so that no connection is favoured for being early.
    int stride = sockets.count / talkers;
    Socket *socket = &sockets.all[(int)(counted.sent % (uint32_t)talkers) * stride];
    socket->asked_at = now_ns();
    send_message(socket);
}

static void react(void) {
    Socket *socket = &sockets.all[reacted++ % (uint64_t)sockets.count];
    send_text(socket, socket->reaction, strlen(socket->reaction));
}

static uint64_t arrived(void) { return counted.deliveries + skipped + shown; }

// As `settle`, but what was skipped and told of is not waited for, and the last sum is.
static uint64_t settle_all(void) {
    uint64_t before = arrived(), since = now_ns();
    while ((counted.deliveries + skipped < counted.expected || shown < reacted) && !sockets.closed) {
        turn(20);
        if (arrived() != before) {
            before = arrived();
            since = now_ns();
        } else if (now_ns() - since > PATIENCE) {
            break;
        }
    }
    counted.settled_at = now_ns();
    uint64_t known = counted.deliveries + skipped;
    return known < counted.expected ? counted.expected - known : 0;
}

static void print_window(Mark start, Mark stop, uint64_t frames_in) {
    double seconds = (double)(stop.at - start.at) / 1e9;
    printf("{\"seconds\":%.3f,\"sent\":%u,\"deliveries\":%lu,\"frames\":%lu,\"bytes\":%lu,\"client_cpu\":%.3f}\n", seconds,
           stop.sent - start.sent, stop.deliveries - start.deliveries, frames_in, stop.bytes - start.bytes,
           (double)(stop.used - start.used) / 1e9 / seconds);
    fflush(stdout);
}

static void print_totals(uint64_t lost) {
    printf("{\"total\":%u,\"reactions\":%lu,\"reactions_shown\":%lu,\"lost\":%lu,\"skipped\":%lu,\"refused\":%lu,"
           "\"closed\":%d,\"whole_deliveries\":%lu,\"whole_frames\":%lu,\"whole_seconds\":%.3f,",
           counted.sent, reacted, shown, lost, skipped, counted.refusals, sockets.closed, counted.deliveries, frames,
           (double)(counted.settled_at - counted.began) / 1e9);
    print_samples("delivery_ms", &counted.each);
    printf(",");
    print_samples("last_viewer_ms", &counted.last_reader);
    printf(",");
    print_samples("reply_ms", &counted.answers);
    printf("}\n");
    fflush(stdout);
    counted.recording = false;
}

// Two lines: what came in the time measured, printed when that is over; and the totals, when all of it has arrived.
void watch_live(double messages, double reactions, double seconds, int talkers) {
    reset(hear);
    counted.one_in = ONE_IN;
    frames = skipped = reacted = shown = 0;
    uint64_t begin = now_ns(), end = begin + WARM_UP + (uint64_t)(seconds * 1e9), frames_before = 0;
    Mark start = mark();
    while (now_ns() < end && !sockets.closed) {
        if (!counted.recording && now_ns() - begin > WARM_UP) {
            start = start_recording();
            frames_before = frames;
        }
        double passed = (double)(now_ns() - begin) / 1e9;
        while (counted.sent < passed * messages) say(talkers);
        while ((double)reacted < passed * reactions) react();
        turn(1);
    }
    print_window(start, mark(), frames - frames_before);
    print_totals(settle_all());
}
