// Text part: elements that are only moved, as bits. Option: QS_BYTES of an element.
#if QS_BYTES == 1
typedef u8 element;
#elif QS_BYTES == 2
typedef u16 element;
#elif QS_BYTES == 4
typedef u32 element;
#else
typedef u64 element;
#endif
#define QS_WORDS (QS_BYTES == 16 ? 2 : 1)  // elements of the text in one of the tensor
