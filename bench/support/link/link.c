/*
 * A long and lossy path between two network namespaces, for kernels without netem: two TUN devices, one in each,
 * and this process between them. Each way on its own: packets are lost at random, wait for their turn at the
 * link's rate in a queue of bounded length, and arrive one delay later, in order.
 *
 *   link NETNS NETNS DEVICE MTU DELAY_US LOSS_PPM RATE_KBIT QUEUE_BYTES SEED BLOCK
 *
 * DELAY_US is one way's. RATE_KBIT 0 is no limit. BLOCK is what a firewall swallows: none, udp, or a port of TCP. The same SEED loses the same packets of the same traffic. Devices
 * get no address here. Prints "ready" once both exist, runs until standard input ends (its starter is gone, then, or
 * has closed it), and prints what became of the packets: a line for each way, to standard output, and its own CPU time.
 *
 * A packet is read straight into its place in the way's ring and written from there: nothing is copied, nothing
 * allocated. Under load the loop sleeps TURN_NS between looks, so that a system call for waiting serves a batch.
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
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
/* Between two looks under load: far below any delay worth imitating, and some eight packets at 1 Gbit/s. */
#define TURN_NS 100000ull
/* Packets taken from one side before the other has its turn. */
#define BATCH 64

/* In front of every packet in a ring. A length of 0 says that the ring goes on at its start. */
struct slot {
  uint64_t due_ns;
  uint32_t length;
  uint32_t unused;
};

struct way {
  int from, to;
  /* The ring: what waits lies from `head` to `tail`, which never catch up with each other. */
  unsigned char *ring;
  size_t size, head, tail;
  /* When the link will have sent all that waits for its rate. */
  uint64_t free_ns;
  uint64_t random;
  uint64_t taken, lost, overflowed, undelivered, blocked;
};

static size_t mtu;
static uint64_t delay_ns, loss_ppm, rate_kbit, queue_bytes;
static bool is_udp_blocked;
/* 0: none. */
static unsigned blocked_port;

static void die(const char *what) {
  fprintf(stderr, "Cannot run the link: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

/* Opens a TUN device in a namespace; the file stays usable from here. */
static int open_tun(const char *netns, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "/var/run/netns/%s", netns);
  int namespace = open(path, O_RDONLY | O_CLOEXEC);
  if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0) die(path);
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
static uint64_t random_ppm(struct way *way) {
  way->random ^= way->random >> 12;
  way->random ^= way->random << 25;
  way->random ^= way->random >> 27;
  return ((way->random * 2685821657736338717ull) >> 33) % 1000000;
}

static void open_way(struct way *way, int from, int to, uint64_t seed) {
  memset(way, 0, sizeof *way);
  way->from = from;
  way->to = to;
  /* Any start but 0 will do; neighbouring seeds must not look alike. */
  way->random = (seed + 1) * 0x9e3779b97f4a7c15ull;
  for (int i = 0; i < 8; i++) random_ppm(way);
  /* What the delay holds and what the queue holds, thrice over for headers and short packets. */
  uint64_t in_flight = rate_kbit == 0 ? 256ull << 20 : rate_kbit * (delay_ns / 1000) / 8000;
  way->size = 3 * (in_flight + queue_bytes) + (16ull << 20);
  way->ring = malloc(way->size);
  if (way->ring == NULL) die("no memory for a ring");
}

static size_t slot_size(size_t length) {
  return (sizeof(struct slot) + length + 7) & ~(size_t)7;
}

/* Where a packet of the longest kind can be put, or NULL: the ring is full. */
static struct slot *reserve(struct way *way) {
  /* And the note behind it that the ring goes on at its start. */
  size_t need = slot_size(mtu) + sizeof(struct slot);
  if (way->tail >= way->head) {
    if (way->size - way->tail >= need) return (struct slot *)(way->ring + way->tail);
    if (way->head <= need) return NULL;
    ((struct slot *)(way->ring + way->tail))->length = 0;
    way->tail = 0;
  }
  return way->head - way->tail > need ? (struct slot *)(way->ring + way->tail) : NULL;
}

/* Whether a firewall would swallow an IPv4 packet. */
static bool is_blocked(const unsigned char *packet, size_t length) {
  size_t header = (packet[0] & 15u) * 4;
  if (packet[0] >> 4 != 4 || length < header + 4) return false;
  if (packet[9] == 17) return is_udp_blocked;
  if (packet[9] != 6 || blocked_port == 0) return false;
  const unsigned char *ports = packet + header;
  return (ports[0] << 8u | ports[1]) == blocked_port || (ports[2] << 8u | ports[3]) == blocked_port;
}

/* Takes in what has been sent. False when there was nothing. */
static bool take(struct way *way) {
  uint64_t now = now_ns();
  int count = 0;
  for (; count < BATCH; count++) {
    struct slot *slot = reserve(way);
    static unsigned char nowhere[65536];
    unsigned char *into = slot == NULL ? nowhere : (unsigned char *)(slot + 1);
    ssize_t length = read(way->from, into, slot == NULL ? sizeof nowhere : mtu);
    if (length <= 0) {
      if (length < 0 && errno != EAGAIN && errno != EINTR) die("reading");
      break;
    }
    way->taken++;
    if (is_blocked(into, (size_t)length)) {
      way->blocked++;
      continue;
    }
    if (loss_ppm > 0 && random_ppm(way) < loss_ppm) {
      way->lost++;
      continue;
    }
    uint64_t start_ns = way->free_ns > now ? way->free_ns : now;
    uint64_t waiting = (start_ns - now) * rate_kbit / 8000000;
    bool is_over = rate_kbit > 0 && waiting + (uint64_t)length > queue_bytes;
    if (slot == NULL || is_over) {
      way->overflowed++;
      continue;
    }
    way->free_ns = start_ns + (rate_kbit == 0 ? 0 : (uint64_t)length * 8000000 / rate_kbit);
    slot->due_ns = way->free_ns + delay_ns;
    slot->length = (uint32_t)length;
    way->tail += slot_size((size_t)length);
  }
  return count > 0;
}

/* Delivers what is due. Returns when the next is; UINT64_MAX: nothing waits. */
static uint64_t deliver(struct way *way) {
  uint64_t now = now_ns();
  while (way->head != way->tail) {
    struct slot *slot = (struct slot *)(way->ring + way->head);
    if (slot->length == 0) {
      way->head = 0;
      continue;
    }
    if (slot->due_ns > now) return slot->due_ns;
    /* A device that is full or down loses it, as a network card would. */
    if (write(way->to, slot + 1, slot->length) < 0) way->undelivered++;
    way->head += slot_size(slot->length);
  }
  return UINT64_MAX;
}

static void report(const char *from, const char *to, const struct way *way) {
  printf("%s to %s: %llu packets, %llu lost, %llu over the queue, %llu undelivered, %llu blocked\n",
         from, to, (unsigned long long)way->taken, (unsigned long long)way->lost,
         (unsigned long long)way->overflowed, (unsigned long long)way->undelivered,
         (unsigned long long)way->blocked);
}

int main(int count, char **values) {
  if (count != 11) {
    fprintf(stderr, "usage: link NETNS NETNS DEVICE MTU DELAY_US LOSS_PPM RATE_KBIT QUEUE_BYTES SEED BLOCK\n");
    return 2;
  }
  mtu = strtoull(values[4], NULL, 10);
  delay_ns = strtoull(values[5], NULL, 10) * 1000;
  loss_ppm = strtoull(values[6], NULL, 10);
  rate_kbit = strtoull(values[7], NULL, 10);
  queue_bytes = strtoull(values[8], NULL, 10);
  uint64_t seed = strtoull(values[9], NULL, 10);
  is_udp_blocked = strcmp(values[10], "udp") == 0;
  blocked_port = (unsigned)strtoul(values[10], NULL, 10);
  if (mtu < 68 || mtu > 65535) {
    fprintf(stderr, "Cannot run the link: MTU is %s, expected 68 to 65535\n", values[4]);
    return 2;
  }
  int first = open_tun(values[1], values[3]);
  int second = open_tun(values[2], values[3]);
  struct way ways[2];
  open_way(&ways[0], first, second, 2 * seed);
  open_way(&ways[1], second, first, 2 * seed + 1);
  prctl(PR_SET_TIMERSLACK, 1);
  printf("ready\n");
  fflush(stdout);

  for (;;) {
    bool is_busy = false;
    uint64_t next_ns = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
      if (take(&ways[i])) is_busy = true;
      uint64_t due_ns = deliver(&ways[i]);
      if (due_ns < next_ns) next_ns = due_ns;
    }
    uint64_t now = now_ns();
    uint64_t wait_ns = next_ns <= now ? 0 : next_ns - now;
    struct timespec wait = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    struct pollfd files[3] = {{STDIN_FILENO, POLLIN, 0}, {first, POLLIN, 0}, {second, POLLIN, 0}};
    if (is_busy || wait_ns < TURN_NS) {
      struct timespec turn = {0, (long)TURN_NS};
      nanosleep(&turn, NULL);
      wait = (struct timespec){0, 0};
      if (ppoll(files, 1, &wait, NULL) < 0 && errno != EINTR) die("waiting");
    } else if (ppoll(files, 3, next_ns == UINT64_MAX ? NULL : &wait, NULL) < 0 && errno != EINTR) {
      die("waiting");
    }
    if (files[0].revents != 0) break;
  }
  report(values[1], values[2], &ways[0]);
  report(values[2], values[1], &ways[1]);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("the link itself: %ld s of CPU\n", (long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec));
  return 0;
}
