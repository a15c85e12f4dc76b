/* HAI runtime, C interface: load a .hai file, make sessions, run them.
 *
 * This is the stable binary interface of libhai_runtime.so. C99, no other header of HAI is needed.
 *
 * Errors. Functions that can fail return hai_status; HAI_OK is 0. The text of the last failure on the calling thread is
 * hai_last_error(): one sentence that says what, where, the limit and what to do, ending in a stable id such as
 * [HAI-F012]. On failure output parameters are set to NULL or 0 and nothing needs to be released. No function throws or
 * aborts on bad input. Passing a released handle is undefined, as with free().
 *
 * Ownership. Handles made by hai_*_create / hai_*_load belong to the caller, who releases them once with the matching
 * hai_*_release (NULL is allowed). Strings and structures returned by pointer belong to the handle they were asked of
 * and live as long as it does, unless the function says otherwise; the caller never frees them. A session keeps its
 * model alive: the two may be released in any order.
 *
 * Threads. A hai_model is immutable and may be used from any number of threads at once. A hai_session does one thing at
 * a time: calls on one session must not overlap (an overlapping hai_session_run is refused), but different sessions run
 * in parallel, also on one model, whose packed weights they share.
 *
 * Growth. Structures that the caller fills begin with struct_size (use the *_INIT macros); later versions add members
 * at the end only. Structures that the library returns by pointer also only grow at the end. Enumerators keep their
 * numbers.
 */
#ifndef HAI_HAI_H_
#define HAI_HAI_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define HAI_API
#else
#define HAI_API __attribute__((visibility("default")))
#endif

/* C names, not those of HAI's C++. NOLINTBEGIN(readability-identifier-naming) */

#ifdef __cplusplus
extern "C" {
#endif

#define HAI_MAX_RANK 8

/* --- status ------------------------------------------------------------------------------------------------------- */

typedef enum hai_status {
  HAI_OK = 0,
  HAI_INVALID_ARGUMENT = 1,   /* the call can never work: mend it */
  HAI_NOT_FOUND = 2,          /* a file, name or device does not exist */
  HAI_CORRUPT = 3,            /* the file breaks its own format or digests: get it again */
  HAI_UNSUPPORTED = 4,        /* valid, but this build or device cannot do it */
  HAI_OUT_OF_RANGE = 5,       /* a number is beyond a stated limit */
  HAI_RESOURCE_EXHAUSTED = 6, /* memory or disk ran out */
  HAI_IO = 7,                 /* the operating system refused a read or a write, or a device stopped with a fault */
  HAI_INTERNAL = 8            /* a bug in HAI: please report it */
} hai_status;

/* "ok", "corrupt", ... Never NULL; static. Any thread. */
HAI_API const char* hai_status_name(hai_status status);

/* Text of the last failure on this thread, "" when there was none. Valid until the next failing HAI call on this
 * thread. */
HAI_API const char* hai_last_error(void);

/* "0.1.0"; static. */
HAI_API const char* hai_version(void);

/* --- data types --------------------------------------------------------------------------------------------------- */

typedef enum hai_dtype {
  HAI_F64 = 0,
  HAI_F32 = 1,
  HAI_F16 = 2,
  HAI_BF16 = 3,
  HAI_I64 = 4,
  HAI_I32 = 5,
  HAI_I16 = 6,
  HAI_I8 = 7,
  HAI_I4 = 8, /* two a byte, low nibble first */
  HAI_U64 = 9,
  HAI_U32 = 10,
  HAI_U16 = 11,
  HAI_U8 = 12,
  HAI_U4 = 13,
  HAI_BOOL = 14 /* one byte, 0 or 1 */
} hai_dtype;

/* "f32", "i8", ...; "?" for an unknown number. Static. */
HAI_API const char* hai_dtype_name(int32_t dtype);

/* Bits of one element, 0 for an unknown number. */
HAI_API int32_t hai_dtype_bits(int32_t dtype);

/* --- devices ------------------------------------------------------------------------------------------------------ */

typedef struct hai_device_info {
  const char* name;        /* "cpu" */
  const char* description; /* one line for people */
  const char* isa;         /* instruction set used by default (HAI_CPU forces one), "" where there is no choice */
  const char* isas;        /* all that this machine can run, comma separated, least first */
  int32_t thread_count;    /* threads this process may run at once */
} hai_device_info;

/* Devices of this build. Static storage. Out of range: NULL. */
HAI_API size_t hai_device_count(void);
HAI_API const hai_device_info* hai_device(size_t index);

/* --- models ------------------------------------------------------------------------------------------------------- */

typedef struct hai_model hai_model;

/* Opens and verifies a .hai file: header, section table, padding, digests and contents of every structured section.
 * Weights are verified chunk by chunk when a session first needs them, or all at once by hai_model_verify. The file
 * stays open while the model lives; when it is changed or truncated meanwhile, later calls fail with HAI_CORRUPT: bytes
 * that did not match their digest are never used. */
HAI_API hai_status hai_model_load(const char* path, hai_model** model);

/* The same from memory, which stays the caller's and must neither change nor go while the model lives. Any alignment.
 */
HAI_API hai_status hai_model_load_memory(const void* bytes, size_t size_bytes, hai_model** model);

/* Releases the handle; sessions made from the model go on working. */
HAI_API void hai_model_release(hai_model* model);

/* Reads the whole file again and checks every digest, also of what no program uses. */
HAI_API hai_status hai_model_verify(const hai_model* model);

/* A dimension: `value`, or `value` times the symbol with this number (hai_model_symbol). */
typedef struct hai_dim {
  int64_t value;
  int32_t symbol; /* -1: a plain number */
} hai_dim;

/* A named dimension that is chosen at each run, such as the batch; inclusive bounds. */
typedef struct hai_symbol {
  const char* name;
  int64_t min;
  int64_t max;
} hai_symbol;

/* An input or output. For quantized ones real = scale * (q - zero_point), with one scale per tensor (axis -1) or one
 * per index along `quantization_axis`. */
typedef struct hai_tensor_info {
  const char* name;
  int32_t dtype; /* hai_dtype */
  int32_t rank;
  const hai_dim* dims;
  int32_t quantization_axis;
  int32_t scale_count; /* 0: not quantized */
  const float* scales;
  const int32_t* zero_points;
} hai_tensor_info;

/* Counts; and entries by index, NULL when out of range. */
HAI_API size_t hai_model_input_count(const hai_model* model);
HAI_API const hai_tensor_info* hai_model_input(const hai_model* model, size_t index);
HAI_API size_t hai_model_output_count(const hai_model* model);
HAI_API const hai_tensor_info* hai_model_output(const hai_model* model, size_t index);
HAI_API size_t hai_model_symbol_count(const hai_model* model);
HAI_API const hai_symbol* hai_model_symbol(const hai_model* model, size_t index);

/* Concrete dimensions of an input or output at this batch (the value of symbol 0; 1 for a model without symbols).
 * Writes
 * `*rank` and that many `dims`. */
HAI_API hai_status hai_model_input_dims(const hai_model* model, size_t index, int64_t batch, int64_t dims[HAI_MAX_RANK],
                                        int32_t* rank);
HAI_API hai_status hai_model_output_dims(const hai_model* model, size_t index, int64_t batch,
                                         int64_t dims[HAI_MAX_RANK], int32_t* rank);

/* Name of the network, "" when it has none. */
HAI_API const char* hai_model_name(const hai_model* model);

/* Key and value pairs, sorted by key. By index: NULL key out of range. By key: NULL when absent. */
HAI_API size_t hai_model_metadata_count(const hai_model* model);
HAI_API const char* hai_model_metadata_key(const hai_model* model, size_t index);
HAI_API const char* hai_model_metadata_value(const hai_model* model, const char* key);

/* Devices the file holds programs for; NULL when out of range. */
HAI_API size_t hai_model_program_count(const hai_model* model);
HAI_API const char* hai_model_program_device(const hai_model* model, size_t index);

/* Report of the quantizer as JSON text; NULL when there is none. */
HAI_API const char* hai_model_quantization_report(const hai_model* model);

/* What a picture goes through before it becomes the input `input`. All enumerations as numbers. */
typedef enum hai_color_order { HAI_COLOR_RGB = 0, HAI_COLOR_BGR = 1, HAI_COLOR_GRAY = 2 } hai_color_order;
typedef enum hai_layout { HAI_LAYOUT_NCHW = 0, HAI_LAYOUT_NHWC = 1 } hai_layout;
typedef enum hai_resize_rule {
  HAI_RESIZE_SHORT_SIDE = 0,        /* the shorter side becomes resize_size, then a centred crop of width x height */
  HAI_RESIZE_LETTERBOX = 1,         /* fits whole into width x height, the rest is pad_value */
  HAI_RESIZE_STRETCH = 2,           /* to width x height, whatever the aspect */
  HAI_RESIZE_LETTERBOX_TOP_LEFT = 3 /* as HAI_RESIZE_LETTERBOX, the picture at the top left and not centred */
} hai_resize_rule;
typedef enum hai_interpolation {
  HAI_INTERPOLATION_NEAREST = 0,
  HAI_INTERPOLATION_BILINEAR = 1,
  HAI_INTERPOLATION_BICUBIC = 2
} hai_interpolation;
typedef struct hai_preprocessing {
  const char* input; /* name of the model's input */
  int32_t width;     /* of the input, pixels */
  int32_t height;
  int32_t color_order;   /* hai_color_order */
  int32_t layout;        /* hai_layout */
  int32_t resize_rule;   /* hai_resize_rule */
  int32_t interpolation; /* hai_interpolation */
  int32_t resize_size;   /* shorter side before the crop, pixels; 0 unless HAI_RESIZE_SHORT_SIDE */
  float mean[3];         /* in units of 0..255 pixels: x = (pixel - mean) * scale, channels in color_order */
  float scale[3];
  float pad_value; /* pixel value around a letterboxed picture */
} hai_preprocessing;

/* NULL when the file holds none. */
HAI_API const hai_preprocessing* hai_model_preprocessing(const hai_model* model);

typedef struct hai_section_info {
  const char* kind; /* "graph", "program", "weights", ...; "unknown" for an optional one of a newer version */
  const char* name; /* of a program: its device */
  int32_t required;
  uint64_t offset_bytes;
  uint64_t size_bytes;
  const char* sha256;      /* 64 hexadecimal digits; of weights: of the digests of their chunks */
  uint64_t expanded_bytes; /* of compressed weights: what they become in memory; of others: size_bytes */
} hai_section_info;

HAI_API size_t hai_model_section_count(const hai_model* model);
HAI_API const hai_section_info* hai_model_section(const hai_model* model, size_t index);

/* Digest of the whole file (header and section table, which hold the digests of everything else): 64 digits. */
HAI_API const char* hai_model_sha256(const hai_model* model);
HAI_API uint64_t hai_model_file_size(const hai_model* model);

/* --- sessions ----------------------------------------------------------------------------------------------------- */

typedef struct hai_session hai_session;

typedef struct hai_session_options {
  size_t struct_size;
  const char* device;   /* NULL: the first device that the file has a program for and this build can use */
  const char* isa;      /* cpu: "scalar", "avx2", ...; NULL: HAI_CPU, else the best this machine has */
  int32_t threads;      /* 0: one for each CPU this process may use */
  int64_t max_batch;    /* memory is made for this many samples at once; 0: grows with the largest batch seen */
  int32_t profile;      /* not 0: time every layer (hai_session_profile) */
  int32_t trace_events; /* capacity of the ring of trace events; 0: none */
  const char* inject; /* faults that a simulated device is to show, separated by ';' (docs/how_to/npu.md); NULL: none */
} hai_session_options;

#define HAI_SESSION_OPTIONS_INIT {sizeof(hai_session_options), NULL, NULL, 0, 0, 0, 0, NULL}

/* Makes a session. The first one on a device and instruction set reads, verifies and packs the weights; later ones
 * share them. `options` may be NULL. Any thread. */
HAI_API hai_status hai_session_create(hai_model* model, const hai_session_options* options, hai_session** session);
HAI_API void hai_session_release(hai_session* session);

/* A tensor in the caller's memory: dense, row-major, aligned to its element. */
typedef struct hai_tensor {
  int32_t dtype; /* hai_dtype; must be that of the model */
  int32_t rank;
  int64_t dims[HAI_MAX_RANK];
  void* data;        /* not written when the tensor is an input */
  size_t size_bytes; /* of the memory at data; at least what dims and dtype need */
} hai_tensor;

/* One run: inputs and outputs in the model's order. The batch is taken from the shapes of the inputs; every shape, type
 * and size is checked first. Buffers are used in place, without a copy; outputs may not overlap anything else. After
 * the first run with a batch, runs with that batch or a smaller one allocate nothing. On failure outputs are
 * unspecified. */
HAI_API hai_status hai_session_run(hai_session* session, const hai_tensor* inputs, size_t input_count,
                                   const hai_tensor* outputs, size_t output_count);

/* Number of outputs, and type and dimensions that output `index` will have for these inputs (only their dtype, rank and
 * dims are looked at), so that a caller can make the memory. */
HAI_API size_t hai_session_output_count(const hai_session* session);
HAI_API hai_status hai_session_output_type(const hai_session* session, const hai_tensor* inputs, size_t input_count,
                                           size_t index, int32_t* dtype, int64_t dims[HAI_MAX_RANK], int32_t* rank);

typedef struct hai_layer_profile {
  const char* name;   /* of the layer in the source model */
  const char* kernel; /* "conv2d" */
  int64_t calls;
  int64_t total_ns; /* measured, of all calls */
  int64_t min_ns;   /* of one call */
  int64_t macs;     /* of one call at the batch of the last run */
  int64_t bytes;    /* read and written by one call, weights included */
} hai_layer_profile;

/* Turns timing on or off and forgets earlier times. */
HAI_API hai_status hai_session_set_profiling(hai_session* session, int32_t enabled);

/* One entry per instruction, in order. Valid until the next call on this session. */
HAI_API hai_status hai_session_profile(hai_session* session, const hai_layer_profile** layers, size_t* count);

/* Writes the ring of trace events as Chrome / Perfetto JSON: one row per engine, times measured. */
HAI_API hai_status hai_session_write_trace(hai_session* session, const char* path);
/* The same as text that lives until the next call on this session. */
HAI_API hai_status hai_session_trace_json(hai_session* session, const char** json);

/* What became of the injected faults in the last run, as JSON: an array with an object for each, in the order in which
 * they were given: "fault", "segment", "what", "verdict" ("detected", "contained", "masked" or "not reached"),
 * "detail", and of a detected one "command", "core", "queue", "layer", "modelled_cycle", "semaphore", "channel" as far
 * as they apply. "[]" without injected faults. A run that a fault stopped failed with HAI_IO or HAI_CORRUPT. Valid
 * until the next call on this session. */
HAI_API hai_status hai_session_fault_report(hai_session* session, const char** json);

typedef struct hai_memory_info {
  size_t struct_size;
  int64_t packed_weights_bytes;    /* shared by all sessions on this model, device and instruction set */
  int64_t arena_bytes;             /* for the batch the session holds memory for */
  int64_t arena_lower_bound_bytes; /* at batch 1 */
  int64_t scratch_bytes;
  int64_t batch; /* the batch that arena and scratch are made for */
} hai_memory_info;

#define HAI_MEMORY_INFO_INIT {sizeof(hai_memory_info), 0, 0, 0, 0, 0}

/* The caller sets info->struct_size. */
HAI_API hai_status hai_session_memory(const hai_session* session, hai_memory_info* info);

/* What the session runs with. */
HAI_API const char* hai_session_device(const hai_session* session);
HAI_API const char* hai_session_isa(const hai_session* session);
HAI_API int32_t hai_session_thread_count(const hai_session* session);

#ifdef __cplusplus
}
#endif

/* NOLINTEND(readability-identifier-naming) */

#endif /* HAI_HAI_H_ */
