/*
 * The network of a cluster in namespaces, in one process: a TUN device in each of them, and between every two a path of its own that can
 * be blocked, lose, delay and slow down what goes over it, from one moment to the next. For kernels without netem and firewalls.
 *
 *   switch START DEVICE MTU NETNS...
 *
 * The device in the namespace with index I has the IPv4 address whose last byte is I + 1; it gets it from whoever starts this. Packets to
 * other addresses, and those of IPv6, are swallowed. START is of the losses. Commands come on standard input, a line each:
 *
 *   port I LOSS_PPM DELAY_US RATE_KBIT    what goes out of I or into it; a rate of 0 is no limit
 *   pair I J BLOCKED                      between I and J, both ways: 1 is blocked, 0 is not
 *   report                                a line on each port
 *
 * Prints "ready" once all devices exist, answers every command with a line, and ends with its input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 64
/* Packets taken from one port before the next has its turn. */
#define BATCH 64
/* What waits on one path for its delay or rate; more is lost, as in any queue. */
#define RING_BYTES (2u << 20)
/* How much a rate lets wait before it drops. */
#define QUEUE_NS 200000000ull

struct slot {
  uint64_t due_ns;
  /* 0: the ring goes on at its start. */
  uint32_t length;
  uint32_t unused;
};

struct path {
  unsigned char *ring; /* made when first wanted */
  size_t head, tail;
};

struct port {
  int file;
  uint64_t loss_ppm, delay_ns, rate_kbit;
  /* When all that waits for the rate will be over, out of the port and into it. */
  uint64_t out_free_ns, in_free_ns;
  uint64_t taken, lost, overflowed, blocked, undelivered;
};

static struct port ports[PORTS_MAX];
static struct path paths[PORTS_MAX][PORTS_MAX];
static bool is_blocked[PORTS_MAX][PORTS_MAX];
static int count;
static size_t mtu;
static uint64_t random_state;

static void die(const char *what) {
  fprintf(stderr, "Cannot run the switch: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

static int open_tun(const char *netns, const char *name) {
  char where[256];
  snprintf(where, sizeof where, "/var/run/netns/%s", netns);
  int namespace = open(where, O_RDONLY | O_CLOEXEC);
  if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0) die(where);
  close(namespace);
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tun < 0) die("/dev/net/tun");
  struct ifreq request;
  memset(&request, 0, sizeof request);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(tun, TUNSETIFF, &request) < 0) die(name);
  return tun;
}

/* xorshift64*: 0 to 999 999. */
static uint64_t random_ppm(void) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return ((random_state * 2685821657736338717ull) >> 33) % 1000000;
}

static size_t slot_size(size_t length) {
  return (sizeof(struct slot) + length + 7) & ~(size_t)7;
}

/* Where the next packet of a path can be put, or NULL: there is no room. */
static struct slot *reserve(struct path *path, size_t length) {
  if (path->ring == NULL) {
    path->ring = malloc(RING_BYTES);
    if (path->ring == NULL) die("no memory for a ring");
  }
  if (path->head == path->tail) path->head = path->tail = 0;
  /* And the note behind it that the ring goes on at its start. */
  size_t need = slot_size(length) + sizeof(struct slot);
  if (path->tail >= path->head) {
    if (RING_BYTES - path->tail >= need) return (struct slot *)(path->ring + path->tail);
    if (path->head <= need) return NULL;
    ((struct slot *)(path->ring + path->tail))->length = 0;
    path->tail = 0;
  }
  return path->head - path->tail > need ? (struct slot *)(path->ring + path->tail) : NULL;
}

/* When a packet that asks for its turn now has had it; UINT64_MAX: too many wait. */
static uint64_t take_turn(uint64_t *free_ns, uint64_t rate_kbit, uint64_t at_ns, size_t length) {
  if (rate_kbit == 0) return at_ns;
  uint64_t start_ns = *free_ns > at_ns ? *free_ns : at_ns;
  if (start_ns - at_ns > QUEUE_NS) return UINT64_MAX;
  *free_ns = start_ns + (uint64_t)length * 8000000 / rate_kbit;
  return *free_ns;
}

static void deliver_now(struct port *to, const unsigned char *packet, size_t length) {
  /* A device that is full or down loses it, as a network card would. */
  if (write(to->file, packet, length) < 0) to->undelivered++;
}

static void forward(int from, const unsigned char *packet, size_t length) {
  struct port *source = &ports[from];
  source->taken++;
  if (length < 20 || packet[0] >> 4 != 4) return;
  int to = packet[19] - 1;
  if (to < 0 || to >= count || to == from) return;
  struct port *target = &ports[to];
  if (is_blocked[from][to]) {
    source->blocked++;
    return;
  }
  uint64_t loss_ppm = source->loss_ppm + target->loss_ppm;
  if (loss_ppm > 0 && random_ppm() < loss_ppm) {
    source->lost++;
    return;
  }
  struct path *path = &paths[from][to];
  uint64_t delay_ns = source->delay_ns + target->delay_ns;
  bool is_free = source->rate_kbit == 0 && target->rate_kbit == 0 && delay_ns == 0;
  if (is_free && path->head == path->tail) {
    deliver_now(target, packet, length);
    return;
  }
  uint64_t due_ns = take_turn(&source->out_free_ns, source->rate_kbit, now_ns(), length);
  if (due_ns != UINT64_MAX)
    due_ns = take_turn(&target->in_free_ns, target->rate_kbit, due_ns, length);
  struct slot *slot = due_ns == UINT64_MAX ? NULL : reserve(path, length);
  if (slot == NULL) {
    source->overflowed++;
    return;
  }
  slot->due_ns = due_ns + delay_ns;
  slot->length = (uint32_t)length;
  memcpy(slot + 1, packet, length);
  path->tail += slot_size(length);
}

/* Takes in what one port has sent. False when there was nothing. */
static bool take(int from) {
  static unsigned char packet[65536];
  int taken = 0;
  for (; taken < BATCH; taken++) {
    ssize_t length = read(ports[from].file, packet, mtu);
    if (length <= 0) {
      if (length < 0 && errno != EAGAIN && errno != EINTR) die("reading");
      break;
    }
    forward(from, packet, (size_t)length);
  }
  return taken > 0;
}

/* Delivers what is due on a path. Returns when the next is; UINT64_MAX: nothing waits. */
static uint64_t deliver_due(struct path *path, struct port *to, uint64_t now) {
  while (path->head != path->tail) {
    struct slot *slot = (struct slot *)(path->ring + path->head);
    if (slot->length == 0) {
      path->head = 0;
      continue;
    }
    if (slot->due_ns > now) return slot->due_ns;
    deliver_now(to, (unsigned char *)(slot + 1), slot->length);
    path->head += slot_size(slot->length);
  }
  return UINT64_MAX;
}

static void obey(const char *line) {
  int first, second, blocked;
  unsigned long long loss_ppm, delay_us, rate_kbit;
  if (sscanf(line, "port %d %llu %llu %llu", &first, &loss_ppm, &delay_us, &rate_kbit) == 4 &&
      first >= 0 && first < count) {
    struct port *port = &ports[first];
    port->loss_ppm = loss_ppm;
    port->delay_ns = delay_us * 1000;
    port->rate_kbit = rate_kbit;
    port->out_free_ns = port->in_free_ns = 0;
  } else if (sscanf(line, "pair %d %d %d", &first, &second, &blocked) == 3 && first >= 0 &&
             first < count && second >= 0 && second < count) {
    is_blocked[first][second] = is_blocked[second][first] = blocked != 0;
  } else if (strcmp(line, "report") == 0) {
    for (int i = 0; i < count; i++)
      printf("%d: %llu packets, %llu lost, %llu over the queue, %llu blocked, %llu undelivered; ", i,
             (unsigned long long)ports[i].taken, (unsigned long long)ports[i].lost,
             (unsigned long long)ports[i].overflowed, (unsigned long long)ports[i].blocked,
             (unsigned long long)ports[i].undelivered);
  } else {
    printf("cannot understand: %s\n", line);
    fflush(stdout);
    return;
  }
  printf("done\n");
  fflush(stdout);
}

/* Reads commands; false: there will be no more. */
static bool listen_to_commands(void) {
  static char text[4096];
  static size_t length;
  ssize_t got = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
  if (got <= 0) return false;
  length += (size_t)got;
  text[length] = 0;
  char *line = text;
  for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
    *end = 0;
    obey(line);
  }
  length = strlen(line);
  memmove(text, line, length + 1);
  return length < sizeof text - 1;
}

int main(int argument_count, char **values) {
  if (argument_count < 5 || argument_count - 4 > PORTS_MAX) {
    fprintf(stderr, "usage: switch START DEVICE MTU NETNS...\n");
    return 2;
  }
  /* Any state but 0 will do; neighbouring start values must not look alike. */
  random_state = (strtoull(values[1], NULL, 10) + 1) * 0x9e3779b97f4a7c15ull;
  mtu = strtoull(values[3], NULL, 10);
  if (mtu < 68 || mtu > 65535) {
    fprintf(stderr, "Cannot run the switch: MTU is %s, expected 68 to 65535\n", values[3]);
    return 2;
  }
  for (int i = 4; i < argument_count; i++) ports[count++].file = open_tun(values[i], values[2]);
  prctl(PR_SET_TIMERSLACK, 1);
  printf("ready\n");
  fflush(stdout);

  struct pollfd files[PORTS_MAX + 1];
  files[0] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
  for (int i = 0; i < count; i++) files[i + 1] = (struct pollfd){ports[i].file, POLLIN, 0};
  for (;;) {
    bool is_busy = false;
    for (int i = 0; i < count; i++)
      if ((files[i + 1].revents & POLLIN) != 0 && take(i)) is_busy = true;
    uint64_t now = now_ns();
    uint64_t next_ns = UINT64_MAX;
    for (int from = 0; from < count; from++) {
      for (int to = 0; to < count; to++) {
        struct path *path = &paths[from][to];
        if (path->head == path->tail) continue;
        uint64_t due_ns = deliver_due(path, &ports[to], now);
        if (due_ns < next_ns) next_ns = due_ns;
      }
    }
    uint64_t wait_ns = is_busy || next_ns <= now ? 0 : next_ns - now;
    struct timespec wait = {(time_t)(wait_ns / 1000000000ull), (long)(wait_ns % 1000000000ull)};
    bool is_endless = !is_busy && next_ns == UINT64_MAX;
    if (ppoll(files, (nfds_t)count + 1, is_endless ? NULL : &wait, NULL) < 0 && errno != EINTR)
      die("waiting");
    if (files[0].revents != 0 && !listen_to_commands()) break;
  }
  return 0;
}
