#pragma once

// What Swift cannot see of librabbitmq: variadic logins, unions in frames and field values.
// Everything is `static inline`, because a system library target compiles no sources.

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>

// --- opening ---------------------------------------------------------------------------------------------------

/// The outcome of a login: `status` is a library status (0 or negative); `code` and `text` are what the broker
/// answered when it closed the connection. `text` lives until the next call on the connection.
typedef struct {
  int status;
  uint16_t code;
  amqp_bytes_t text;
} tb_reply_t;

static inline tb_reply_t tb_reply(amqp_rpc_reply_t reply) {
  tb_reply_t result;
  memset(&result, 0, sizeof result);
  switch (reply.reply_type) {
    case AMQP_RESPONSE_NORMAL:
      break;
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
      result.status = reply.library_error;
      break;
    case AMQP_RESPONSE_SERVER_EXCEPTION:
      if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        amqp_connection_close_t *close = (amqp_connection_close_t *)reply.reply.decoded;
        result.code = close->reply_code;
        result.text = close->reply_text;
      } else if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_t *close = (amqp_channel_close_t *)reply.reply.decoded;
        result.code = close->reply_code;
        result.text = close->reply_text;
      } else {
        result.status = AMQP_STATUS_WRONG_METHOD;
      }
      break;
    default:
      result.status = AMQP_STATUS_CONNECTION_CLOSED;
  }
  return result;
}

static inline tb_reply_t tb_login_plain(amqp_connection_state_t state, const char *vhost, int channel_max,
                                        int frame_max, int heartbeat, const amqp_table_t *properties,
                                        const char *user, const char *password) {
  return tb_reply(amqp_login_with_properties(state, vhost, channel_max, frame_max, heartbeat, properties,
                                             AMQP_SASL_METHOD_PLAIN, user, password));
}

static inline tb_reply_t tb_login_external(amqp_connection_state_t state, const char *vhost, int channel_max,
                                           int frame_max, int heartbeat, const amqp_table_t *properties,
                                           const char *identity) {
  return tb_reply(amqp_login_with_properties(state, vhost, channel_max, frame_max, heartbeat, properties,
                                             AMQP_SASL_METHOD_EXTERNAL, identity));
}

/// Version 0.11 allows TLS 1.0 unless told otherwise.
static inline int tb_tls_at_least_1_2(amqp_socket_t *socket) {
  return amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
}

/// Keep-alive probes find a dead peer in 25 s, the user timeout ends a send that nobody acknowledges.
static inline int tb_tune_socket(int fd, unsigned user_timeout_ms) {
  int one = 1, idle = 10, interval = 5, count = 3;
  int failed = 0;
  failed |= setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  failed |= setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  failed |= setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  failed |= setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  failed |= setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
  return failed;
}

/// While corked the kernel sends full segments only; taking the cork out sends what is left at once.
static inline void tb_cork(int fd, int on) { (void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on); }

// --- threads ---------------------------------------------------------------------------------------------------

static inline void tb_name_thread(const char *name) { (void)prctl(PR_SET_NAME, name, 0, 0, 0); }
static inline int tb_event_new(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
static inline void tb_event_signal(int fd) { (void)eventfd_write(fd, 1); }
static inline void tb_event_clear(int fd) {
  eventfd_t count;
  (void)eventfd_read(fd, &count);
}

// --- frames ----------------------------------------------------------------------------------------------------

/// One frame if one is there, without waiting. Sends a heartbeat that is due and notices a peer that is silent.
static inline int tb_next_frame(amqp_connection_state_t state, amqp_frame_t *frame) {
  struct timeval none = {0, 0};
  return amqp_simple_wait_frame_noblock(state, frame, &none);
}

static inline amqp_method_number_t tb_frame_method(const amqp_frame_t *frame) { return frame->payload.method.id; }
static inline void *tb_frame_decoded(const amqp_frame_t *frame) { return frame->payload.method.decoded; }
static inline uint64_t tb_frame_body_size(const amqp_frame_t *frame) { return frame->payload.properties.body_size; }
static inline uint16_t tb_frame_class(const amqp_frame_t *frame) { return frame->payload.properties.class_id; }
static inline const amqp_basic_properties_t *tb_frame_properties(const amqp_frame_t *frame) {
  return (const amqp_basic_properties_t *)frame->payload.properties.decoded;
}
static inline amqp_bytes_t tb_frame_body(const amqp_frame_t *frame) { return frame->payload.body_fragment; }

// --- field values ----------------------------------------------------------------------------------------------

static inline int tb_value_bool(const amqp_field_value_t *value) { return value->value.boolean != 0; }
static inline amqp_bytes_t tb_value_bytes(const amqp_field_value_t *value) { return value->value.bytes; }
static inline amqp_table_t tb_value_table(const amqp_field_value_t *value) { return value->value.table; }
static inline amqp_array_t tb_value_array(const amqp_field_value_t *value) { return value->value.array; }
static inline double tb_value_float(const amqp_field_value_t *value) { return (double)value->value.f32; }
static inline double tb_value_double(const amqp_field_value_t *value) { return value->value.f64; }
static inline uint64_t tb_value_u64(const amqp_field_value_t *value) { return value->value.u64; }
static inline amqp_decimal_t tb_value_decimal(const amqp_field_value_t *value) { return value->value.decimal; }
static inline int64_t tb_value_int(const amqp_field_value_t *value) {
  switch (value->kind) {
    case AMQP_FIELD_KIND_I8:
      return value->value.i8;
    case AMQP_FIELD_KIND_U8:
      return value->value.u8;
    case AMQP_FIELD_KIND_I16:
      return value->value.i16;
    case AMQP_FIELD_KIND_U16:
      return value->value.u16;
    case AMQP_FIELD_KIND_I32:
      return value->value.i32;
    case AMQP_FIELD_KIND_U32:
      return value->value.u32;
    default:
      return value->value.i64;
  }
}

static inline void tb_set_void(amqp_field_value_t *value) { value->kind = AMQP_FIELD_KIND_VOID; }
static inline void tb_set_bool(amqp_field_value_t *value, int flag) {
  value->kind = AMQP_FIELD_KIND_BOOLEAN;
  value->value.boolean = flag ? 1 : 0;
}
static inline void tb_set_i64(amqp_field_value_t *value, int64_t number) {
  value->kind = AMQP_FIELD_KIND_I64;
  value->value.i64 = number;
}
static inline void tb_set_double(amqp_field_value_t *value, double number) {
  value->kind = AMQP_FIELD_KIND_F64;
  value->value.f64 = number;
}
static inline void tb_set_timestamp(amqp_field_value_t *value, uint64_t seconds) {
  value->kind = AMQP_FIELD_KIND_TIMESTAMP;
  value->value.u64 = seconds;
}
static inline void tb_set_string(amqp_field_value_t *value, amqp_bytes_t bytes) {
  value->kind = AMQP_FIELD_KIND_UTF8;
  value->value.bytes = bytes;
}
static inline void tb_set_bytes(amqp_field_value_t *value, amqp_bytes_t bytes) {
  value->kind = AMQP_FIELD_KIND_BYTES;
  value->value.bytes = bytes;
}
static inline void tb_set_table(amqp_field_value_t *value, amqp_table_t table) {
  value->kind = AMQP_FIELD_KIND_TABLE;
  value->value.table = table;
}
static inline void tb_set_array(amqp_field_value_t *value, amqp_array_t array) {
  value->kind = AMQP_FIELD_KIND_ARRAY;
  value->value.array = array;
}
