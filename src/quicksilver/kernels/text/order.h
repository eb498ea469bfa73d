// Text part: elements as unsigned keys whose order is the one of sorting: a NaN above all numbers,
// -0 with 0. Elements are bit patterns, so it needs no floating type and no mode of a compiler can
// spoil it: f64 works on devices that have none.
//
// Options: QS_BYTES of an element; QS_ORDER 0 unsigned (and bool), 1 signed, 2 floating;
// QS_INFINITY, the bits of a floating dtype's infinity.

#if QS_BYTES == 1
typedef u8 element;
#elif QS_BYTES == 2
typedef u16 element;
#elif QS_BYTES == 4
typedef u32 element;
#else
typedef u64 element;
#endif
#if QS_BYTES == 8
typedef u64 order_key;
#else
typedef u32 order_key;
#endif
#define QS_SIGN ((element)((element)1 << (QS_BYTES * 8 - 1)))
#define QS_LAST_KEY ((order_key) ~(order_key)0)

QS_FUNCTION order_key key_of(element x) {
#if QS_ORDER == 2
  const element magnitude = (element)(x & (element)~QS_SIGN);
  if (magnitude > (element)QS_INFINITY) return QS_LAST_KEY;
  if (magnitude == 0) return (order_key)QS_SIGN;
  return (order_key)(element)(x & QS_SIGN ? ~x : x | QS_SIGN);
#elif QS_ORDER == 1
  return (order_key)(element)(x ^ QS_SIGN);
#else
  return (order_key)x;
#endif
}
