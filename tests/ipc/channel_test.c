/* Whole messages over a real socket pair. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/channel.h"
#include "tests/support/leak.h"

static int here, there;
static th_message message; /* too large for some stacks */

static void pair_make(void) {
  leak_begin();
  int fds[2];
  cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  here = fds[0];
  there = fds[1];
}

static void pair_close(void) {
  if (here >= 0) close(here);
  if (there >= 0) close(there);
  leak_end();
}

TestSuite(channel, .init = pair_make, .fini = pair_close);

static int64_t in_ms(int64_t ms) {
  return th_clock_deadline_ns(ms * TH_NS_PER_MS);
}

static th_error send_text(const char *text, const int *fds, uint32_t fd_count) {
  th_wire_header header = {
      .type = TH_WIRE_PING, .request = 7, .body_bytes = (uint32_t)strlen(text)};
  return th_channel_send(here, &header, text, fds, fd_count, in_ms(1000));
}

/* Send bytes and descriptors as no honest peer does, in as many blocks of one descriptor as asked.
 */
static void send_raw(const void *bytes, size_t count, const int *fds, uint32_t fd_count,
                     uint32_t fds_a_block) {
  enum { FDS_MAX = 16 };
  _Alignas(struct cmsghdr) char control[FDS_MAX * CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
  struct msghdr raw = {.msg_iov = &part, .msg_iovlen = 1};
  size_t used = 0;
  for (uint32_t done = 0; done < fd_count; done += fds_a_block) {
    uint32_t now = fd_count - done < fds_a_block ? fd_count - done : fds_a_block;
    struct cmsghdr *block = (struct cmsghdr *)(void *)(control + used);
    *block = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(now * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(block), fds + done, now * sizeof(int));
    used += CMSG_SPACE(now * sizeof(int));
  }
  if (fd_count > 0) {
    raw.msg_control = control;
    raw.msg_controllen = used;
  }
  cr_assert_eq(sendmsg(here, &raw, MSG_NOSIGNAL), (ssize_t)count);
}

static void expect_protocol_error(const char *reason) {
  cr_assert_eq(th_channel_receive(there, &message, in_ms(1000)), TH_ERR_PROTOCOL);
  cr_assert_not_null(strstr(th_error_text(), reason), "\"%s\" does not say \"%s\"", th_error_text(),
                     reason);
  cr_assert_eq(message.fd_count, 0);
}

/* ---- whole messages ---- */

Test(channel, a_message_arrives_whole) {
  cr_assert_eq(send_text("hello", NULL, 0), TH_OK);
  cr_assert_eq(th_channel_receive(there, &message, in_ms(1000)), TH_OK);
  cr_assert_eq(message.header.type, TH_WIRE_PING);
  cr_assert_eq(message.header.request, 7);
  cr_assert_eq(message.header.body_bytes, 5);
  cr_assert_arr_eq(message.body, "hello", 5);
  cr_assert_eq(message.fd_count, 0);
}

Test(channel, messages_keep_their_bounds_and_their_order) {
  for (uint32_t i = 0; i < 20; i++) {
    th_wire_header header = {.type = i, .body_bytes = i};
    cr_assert_eq(th_channel_send(here, &header, "01234567890123456789", NULL, 0, 0), TH_OK);
  }
  for (uint32_t i = 0; i < 20; i++) {
    cr_assert_eq(th_channel_receive(there, &message, 0), TH_OK);
    cr_assert_eq(message.header.type, i);
    cr_assert_eq(message.header.body_bytes, i);
  }
}

Test(channel, the_largest_body_passes) {
  static uint8_t body[TH_WIRE_BODY_BYTES_MAX];
  for (size_t i = 0; i < sizeof body; i++) body[i] = (uint8_t)(i * 31);
  th_wire_header header = {.body_bytes = sizeof body};
  cr_assert_eq(th_channel_send(here, &header, body, NULL, 0, 0), TH_OK);
  cr_assert_eq(th_channel_receive(there, &message, 0), TH_OK);
  cr_assert_arr_eq(message.body, body, sizeof body);
}

Test(channel, descriptors_arrive_and_do_not_survive_exec) {
  int ends[2];
  cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
  cr_assert_eq(send_text("", ends, 2), TH_OK);
  close(ends[0]);
  close(ends[1]);
  cr_assert_eq(th_channel_receive(there, &message, 0), TH_OK);
  cr_assert_eq(message.fd_count, 2);
  char byte = 0;
  cr_assert_eq(write(message.fds[1], "x", 1), 1);
  cr_assert_eq(read(message.fds[0], &byte, 1), 1);
  cr_assert_eq(byte, 'x');
  cr_assert(fcntl(message.fds[0], F_GETFD) & FD_CLOEXEC);
  th_message_close_fds(&message, 0);
}

Test(channel, as_many_descriptors_as_allowed_arrive_from_any_number_of_blocks) {
  const int fds[TH_WIRE_FDS_MAX] = {here, here, here, here, here, here, here, here};
  const th_wire_header header = {0};
  for (uint32_t a_block = 1; a_block <= TH_WIRE_FDS_MAX; a_block++) {
    send_raw(&header, sizeof header, fds, TH_WIRE_FDS_MAX, a_block);
    cr_assert_eq(th_channel_receive(there, &message, 0), TH_OK, "%s", th_error_text());
    cr_assert_eq(message.fd_count, TH_WIRE_FDS_MAX, "blocks of %u", a_block);
    th_message_close_fds(&message, 0);
  }
}

Test(channel, close_fds_closes_from_the_one_named_on) {
  const int fds[] = {here, here, here};
  cr_assert_eq(send_text("", fds, 3), TH_OK);
  cr_assert_eq(th_channel_receive(there, &message, 0), TH_OK);
  th_message_close_fds(&message, 1);
  cr_assert_eq(message.fd_count, 1);
  cr_assert_neq(fcntl(message.fds[0], F_GETFD), -1);
  th_message_close_fds(&message, 1);
  th_message_close_fds(&message, 0);
  th_message_close_fds(&message, 0);
  cr_assert_eq(message.fd_count, 0);
}

/* ---- broken messages; each carries a descriptor, which must not stay open ---- */

Test(channel, a_datagram_shorter_than_a_header_is_refused) {
  const th_wire_header header = {0};
  for (size_t count = 1; count < sizeof header; count++) {
    send_raw(&header, count, &here, 1, 1);
    expect_protocol_error("the header alone");
  }
}

Test(channel, a_body_of_another_size_than_announced_is_refused) {
  static const uint32_t lies[] = {0, 7, 9, TH_WIRE_BODY_BYTES_MAX, INT32_MAX, UINT32_MAX};
  for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
    struct {
      th_wire_header header;
      uint64_t body;
    } datagram = {.header = {.body_bytes = lies[i]}};
    send_raw(&datagram, sizeof datagram, &here, 1, 1);
    expect_protocol_error("announces");
  }
}

Test(channel, a_datagram_larger_than_any_message_is_refused) {
  static struct {
    th_wire_header header;
    uint8_t body[TH_WIRE_BODY_BYTES_MAX + 1];
  } datagram = {.header = {.body_bytes = TH_WIRE_BODY_BYTES_MAX}};
  send_raw(&datagram, sizeof datagram.header + sizeof datagram.body, &here, 1, 1);
  expect_protocol_error("more than 65552 bytes");
}

Test(channel, more_descriptors_than_allowed_are_refused_and_closed) {
  int fds[TH_WIRE_FDS_MAX + 3];
  for (int i = 0; i < TH_WIRE_FDS_MAX + 3; i++) fds[i] = here;
  const th_wire_header header = {0};
  for (uint32_t count = TH_WIRE_FDS_MAX + 1; count <= TH_WIRE_FDS_MAX + 3; count++) {
    send_raw(&header, sizeof header, fds, count, 1);
    expect_protocol_error("more than 8 descriptors");
  }
}

Test(channel, descriptors_that_the_process_may_not_open_are_a_refusal) {
  const int fds[] = {here, here, here};
  cr_assert_eq(send_text("", fds, 3), TH_OK);
  int lowest = dup(0);
  close(lowest);
  struct rlimit before;
  cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
  struct rlimit few = {.rlim_cur = (rlim_t)lowest + 1, .rlim_max = before.rlim_max};
  cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
  expect_protocol_error("RLIMIT_NOFILE");
  cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}

Test(channel, a_refused_message_does_not_spoil_the_next) {
  send_raw("?", 1, NULL, 0, 1);
  expect_protocol_error("1 bytes");
  cr_assert_eq(send_text("well", NULL, 0), TH_OK);
  cr_assert_eq(th_channel_receive(there, &message, 0), TH_OK);
  cr_assert_arr_eq(message.body, "well", 4);
}

Test(channel, an_empty_datagram_is_the_end) {
  cr_assert_eq(send(here, "", 0, 0), 0);
  cr_assert_eq(th_channel_receive(there, &message, in_ms(1000)), TH_ERR_HOST_LOST);
}

Test(channel, an_empty_datagram_leaves_no_descriptor) {
  send_raw("", 0, &here, 1, 1);
  cr_assert_eq(th_channel_receive(there, &message, in_ms(1000)), TH_ERR_HOST_LOST);
}

/* ---- the peer's end ---- */

Test(channel, a_closed_peer_is_lost) {
  close(here);
  here = -1;
  cr_assert_eq(th_channel_receive(there, &message, in_ms(1000)), TH_ERR_HOST_LOST);
  cr_assert_neq(th_error_text()[0], '\0');
}

Test(channel, what_a_peer_said_before_it_left_is_heard) {
  cr_assert_eq(send_text("last words", NULL, 0), TH_OK);
  close(here);
  here = -1;
  cr_assert_eq(th_channel_receive(there, &message, in_ms(1000)), TH_OK);
  cr_assert_arr_eq(message.body, "last words", 10);
  cr_assert_eq(th_channel_receive(there, &message, in_ms(1000)), TH_ERR_HOST_LOST);
}

Test(channel, a_peer_that_left_words_unread_is_lost) {
  cr_assert_eq(send_text("unread", NULL, 0), TH_OK);
  close(there);
  there = -1;
  cr_assert_eq(th_channel_receive(here, &message, in_ms(1000)), TH_ERR_HOST_LOST);
}

Test(channel, sending_to_a_closed_peer_is_no_signal) {
  close(there);
  there = -1;
  cr_assert_eq(send_text("anybody?", NULL, 0), TH_ERR_HOST_LOST);
}

Test(channel, a_killed_peer_ends_a_wait_at_once) {
  pid_t child = fork();
  if (child == 0) {
    close(there);
    usleep(20000);
    kill(getpid(), SIGKILL);
  }
  close(here);
  here = -1;
  int64_t since_ns = th_clock_now_ns();
  cr_assert_eq(th_channel_receive(there, &message, in_ms(10000)), TH_ERR_HOST_LOST);
  cr_assert_lt(th_clock_now_ns() - since_ns, 5 * TH_NS_PER_S);
  cr_assert_eq(waitpid(child, NULL, 0), child);
}

/* ---- waits ---- */

Test(channel, receive_waits_until_the_deadline) {
  int64_t since_ns = th_clock_now_ns();
  cr_assert_eq(th_channel_receive(there, &message, since_ns + 30 * TH_NS_PER_MS), TH_ERR_AGAIN);
  int64_t took_ns = th_clock_now_ns() - since_ns;
  cr_assert_geq(took_ns, 30 * TH_NS_PER_MS);
  cr_assert_lt(took_ns, 5 * TH_NS_PER_S);
}

Test(channel, a_deadline_in_the_past_does_not_wait) {
  static const int64_t past[] = {INT64_MIN, -1, 0, 1};
  for (int i = 0; i < 4; i++)
    cr_assert_eq(th_channel_receive(there, &message, past[i]), TH_ERR_AGAIN);
}

static void *send_soon(void *unused) {
  usleep(20000);
  (void)send_text("soon", NULL, 0);
  return unused;
}

Test(channel, receive_wakes_for_a_message_however_far_the_deadline) {
  pthread_t sender;
  cr_assert_eq(pthread_create(&sender, NULL, send_soon, NULL), 0);
  cr_assert_eq(th_channel_receive(there, &message, TH_FOREVER), TH_OK);
  pthread_join(sender, NULL);
}

static volatile sig_atomic_t alarms;

static void alarm_count(int signal) {
  (void)signal;
  alarms++;
}

Test(channel, signals_neither_end_nor_lengthen_a_wait) {
  struct sigaction action = {.sa_handler = alarm_count};
  cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
  struct itimerval often = {.it_interval = {.tv_usec = 2000}, .it_value = {.tv_usec = 2000}};
  cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
  int64_t since_ns = th_clock_now_ns();
  cr_assert_eq(th_channel_receive(there, &message, since_ns + 50 * TH_NS_PER_MS), TH_ERR_AGAIN);
  int64_t took_ns = th_clock_now_ns() - since_ns;
  cr_assert_eq(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL), 0);
  cr_assert_gt(alarms, 0);
  cr_assert_geq(took_ns, 50 * TH_NS_PER_MS);
  cr_assert_lt(took_ns, 5 * TH_NS_PER_S);
}

/* @return how many messages of 4 KiB the socket takes until it has no room. */
static int fill(void) {
  enum { MESSAGES_MAX = 100000 };
  static const uint8_t body[4096];
  th_wire_header header = {.body_bytes = sizeof body};
  int count = 0;
  th_error error = TH_OK;
  while (count < MESSAGES_MAX &&
         (error = th_channel_send(here, &header, body, NULL, 0, 0)) == TH_OK)
    count++;
  cr_assert_eq(error, TH_ERR_AGAIN);
  return count;
}

Test(channel, send_returns_again_without_room_and_loses_nothing) {
  int count = fill();
  cr_assert_eq(th_channel_send(here, &(th_wire_header){0}, NULL, NULL, 0, in_ms(10)), TH_ERR_AGAIN);
  for (int i = 0; i < count; i++) cr_assert_eq(th_channel_receive(there, &message, 0), TH_OK);
  cr_assert_eq(th_channel_receive(there, &message, 0), TH_ERR_AGAIN);
  cr_assert_eq(send_text("room again", NULL, 0), TH_OK);
}

static void *drain_soon(void *unused) {
  static th_message drained;
  usleep(20000);
  while (th_channel_receive(there, &drained, 0) == TH_OK) continue;
  return unused;
}

Test(channel, send_waits_for_room) {
  (void)fill();
  pthread_t reader;
  cr_assert_eq(pthread_create(&reader, NULL, drain_soon, NULL), 0);
  th_wire_header header = {0};
  cr_assert_eq(th_channel_send(here, &header, NULL, NULL, 0, in_ms(10000)), TH_OK);
  pthread_join(reader, NULL);
}
