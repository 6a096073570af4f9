#define _GNU_SOURCE
#include "counting.h"

#include <string.h>

#define CONTENT_BYTES 200
#define MARK_BYTES 27 // ~T<16 hex: ns>~<8 hex: number>~
#define MESSAGES 4000000
// What is silent for so long has lost what is missing.
#define PATIENCE (30 * SECOND)

Counted counted;
static uint32_t *readers; // by message number: how many sockets have it

void start_counting(void) { readers = need(calloc(MESSAGES, sizeof *readers)); }

void reset(OnText *on_text) {
    counted.began = counted.settled_at = now_ns();
    memset(readers, 0, (size_t)counted.sent * sizeof *readers);
    counted.sent = 0;
    counted.expected = counted.deliveries = counted.replies = counted.refusals = counted.busy = 0;
    counted.recording = false;
    counted.last_reader.count = counted.answers.count = counted.each.count = 0;
    counted.one_in = counted.first = 0;
    sockets.on_text = on_text;
}

static uint64_t hex(const uint8_t *digits, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++) {
        uint8_t c = digits[i];
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

void count_deliveries(const Socket *socket, const uint8_t *payload, size_t length) {
    const uint8_t *end = payload + length, *found = payload;
    uint32_t all = (uint32_t)sockets.rooms[socket->room].count;
    // The second of each so many: the first may be one of those that send.
    bool timed = counted.one_in && counted.recording && (socket - sockets.all) % counted.one_in == 1;
    while ((found = memmem(found, (size_t)(end - found), "~T", 2)) && end - found >= MARK_BYTES) {
        uint64_t sent_at = hex(found + 2, 16);
        uint32_t number = (uint32_t)hex(found + 19, 8);
        counted.deliveries++;
        if (number < MESSAGES && ++readers[number] == all && counted.recording) {
            add_sample(&counted.last_reader, now_ns() - sent_at);
        }
        if (timed && number >= counted.first) add_sample(&counted.each, now_ns() - sent_at);
        found += MARK_BYTES;
    }
}

bool take_reply(Socket *socket, const uint8_t *payload, size_t length) {
    bool reply = socket->dialect == SOCKET_IO
                     ? length >= 2 && payload[0] == '4' && payload[1] == '3'
                     : socket->dialect == VEZA && memmem(payload, length < 40 ? length : 40, "\"type\":\"reply\"", 14);
    if (!reply) return false;
    counted.replies++;
    if (socket->asked_at && counted.recording) add_sample(&counted.answers, now_ns() - socket->asked_at);
    socket->asked_at = 0;
    return true;
}

bool refused(const Socket *socket, const uint8_t *payload, size_t length) {
    if (socket->dialect != VEZA) return false;
    if (!memmem(payload, length < 40 ? length : 40, "\"type\":\"error\"", 14)) return false;
    if (!counted.refusals++) fprintf(stderr, "refused: %.*s\n", (int)length, (const char *)payload);
    return true;
}

void send_message(Socket *socket) {
    char message[4096];
    if (counted.sent == MESSAGES) {
        fprintf(stderr, "more than %d messages\n", MESSAGES);
        exit(2);
    }
    int at = snprintf(message, sizeof message - CONTENT_BYTES, "%s", socket->prefix);
    int content = at;
    at += sprintf(message + at, "~T%016lx~%08x~", (unsigned long)now_ns(), counted.sent++);
    memset(message + at, 'x', (size_t)(CONTENT_BYTES - (at - content)));
    at = content + CONTENT_BYTES;
    at += snprintf(message + at, sizeof message - (size_t)at, "%s", socket->suffix);
    counted.expected += (uint64_t)sockets.rooms[socket->room].count;
    send_text(socket, message, (size_t)at);
}

Mark mark(void) {
    return (Mark){now_ns(), used_ns(), counted.deliveries, counted.replies, sockets.bytes_in, counted.sent};
}

Mark start_recording(void) {
    counted.recording = true;
    counted.last_reader.count = counted.answers.count = counted.each.count = 0;
    counted.first = counted.sent;
    return mark();
}

uint64_t settle(void) {
    uint64_t before = counted.deliveries, since = now_ns();
    while (counted.deliveries < counted.expected) {
        turn(20);
        if (counted.deliveries != before) {
            before = counted.deliveries;
            since = now_ns();
        } else if (now_ns() - since > PATIENCE) {
            break;
        }
    }
    counted.settled_at = now_ns();
    return counted.expected - counted.deliveries;
}

void print_samples(const char *name, Samples *samples) {
    sort_samples(samples);
    printf("\"%s\":{\"count\":%zu,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}", name, samples->count,
           percentile(samples, 0.5), percentile(samples, 0.99), percentile(samples, 1));
}

void print_result(Mark start, Mark stop, uint64_t lost) {
    double seconds = (double)(stop.at - start.at) / 1e9;
    printf("{\"seconds\":%.3f,\"deliveries\":%lu,\"replies\":%lu,\"sent\":%u,\"total\":%u,\"bytes\":%lu,\"lost\":%lu,"
           "\"refused\":%lu,\"closed\":%d,\"busy\":%lu,\"client_cpu\":%.3f,"
           "\"whole_deliveries\":%lu,\"whole_seconds\":%.3f,",
           seconds, stop.deliveries - start.deliveries, stop.replies - start.replies, stop.sent - start.sent,
           counted.sent, stop.bytes - start.bytes, lost, counted.refusals, sockets.closed, counted.busy,
           (double)(stop.used - start.used) / 1e9 / seconds, counted.deliveries,
           (double)(counted.settled_at - counted.began) / 1e9);
    print_samples("last_reader_ms", &counted.last_reader);
    printf(",");
    print_samples("reply_ms", &counted.answers);
    printf("}\n");
    fflush(stdout);
    counted.recording = false;
}
