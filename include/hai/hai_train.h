/* HAI training, C interface: one step after the other, validation, checkpoints, on the device that runs the model.
 *
 * These functions are in libhai_training.so, which has all of libhai_runtime.so (hai.h) as well: link one of the two,
 * never both. C99.
 *
 * Errors, ownership and growth are as in hai.h: hai_status and hai_last_error(), handles that their maker releases,
 * structures that begin with struct_size. A step that fails leaves the training as it was.
 *
 * Threads. A hai_trainer does one thing at a time: calls on one trainer must not overlap, from whatever thread they
 * come. Different trainers are independent, also of one model. The trainer keeps its model alive.
 *
 * Bits. The same file, the same batches and learning rates in the same order, on the same instruction set, give the
 * same bits, whatever the number of threads; and so does a training that goes on from a checkpoint.
 */
#ifndef HAI_HAI_TRAIN_H_
#define HAI_HAI_TRAIN_H_

#include "hai/hai.h"

/* C names, not those of HAI's C++. NOLINTBEGIN(readability-identifier-naming) */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hai_trainer hai_trainer;

typedef struct hai_train_options {
  size_t struct_size;
  const char* isa;   /* "scalar", "avx2", ...; NULL: HAI_CPU, else the best this machine has */
  int32_t threads;   /* 0: one for each CPU this process may use */
  int64_t max_batch; /* memory is made for this many samples at once; 0: grows with the largest batch seen */
} hai_train_options;

#define HAI_TRAIN_OPTIONS_INIT {sizeof(hai_train_options), NULL, 0, 0}

/* What a step or a validation came to. */
typedef struct hai_train_result {
  size_t struct_size;
  double loss;
  double gradient_norm; /* of a step: of all gradients together */
  int32_t applied;      /* of a step: 0 where loss or gradients were not finite; then nothing was changed */
  int64_t samples;      /* of the batch */
  int64_t correct; /* of a validation: samples whose largest output is where the target's is; -1: not a classifier */
} hai_train_result;

#define HAI_TRAIN_RESULT_INIT {sizeof(hai_train_result), 0, 0, 0, 0, 0}

/* Makes a trainer of a model that was compiled with a step of training (hai compile --train). HAI_NOT_FOUND: it was
 * not. `options` may be NULL. */
HAI_API hai_status hai_train_create(hai_model* model, const hai_train_options* options, hai_trainer** trainer);
HAI_API void hai_train_release(hai_trainer* trainer);

/* What a step takes: the inputs of the model, then the target, which has the shape of the output that the loss is taken
 * of: for cross-entropy the share of each class. By index; NULL out of range. Lives as long as the trainer. */
HAI_API size_t hai_train_input_count(const hai_trainer* trainer);
HAI_API const hai_tensor_info* hai_train_input(const hai_trainer* trainer, size_t index);

/* Says where the batch lies: hai_train_input_count() tensors in their order. Only the descriptions are copied; the
 * memory stays the caller's, is read by each step or validation that follows, and may be filled anew in between. Types,
 * shapes and sizes are checked now. */
HAI_API hai_status hai_train_bind(hai_trainer* trainer, const hai_tensor* inputs, size_t count);

/* One step on the bound batch. `learning_rate`: at least 0, of this step. After the first step with a batch, steps of
 * that size allocate nothing. The caller sets result->struct_size; NULL: not wanted. */
HAI_API hai_status hai_train_step(hai_trainer* trainer, double learning_rate, hai_train_result* result);

/* Loss and right answers on the bound batch. The training is not disturbed: not a bit of it changes. Answers are those
 * of the model as hai_train_save would write it; the loss is that of the training program, in which batch norms in
 * train mode use the batch's statistics. */
HAI_API hai_status hai_train_validate(hai_trainer* trainer, hai_train_result* result);

/* Steps that were applied, and steps that were refused, since the training began. */
HAI_API int64_t hai_train_steps(const hai_trainer* trainer);
HAI_API int64_t hai_train_refused_steps(const hai_trainer* trainer);

/* Back to what the file holds, and to step 0. */
HAI_API hai_status hai_train_reset(hai_trainer* trainer);

/* Writes the model as it is now; an old file stays until the new one is whole. */
HAI_API hai_status hai_train_save(hai_trainer* trainer, const char* path);
/* The same in memory, for sessions beside the training; the caller releases it. */
HAI_API hai_status hai_train_model(hai_trainer* trainer, hai_model** model);

/* Writes a checkpoint into a folder of its own, which is made where there is none; when it returns HAI_OK it survives
 * whatever happens next. */
HAI_API hai_status hai_train_save_checkpoint(hai_trainer* trainer, const char* folder);
/* Goes on from the newest valid checkpoint there, or changes nothing. HAI_NOT_FOUND: there is none yet. */
HAI_API hai_status hai_train_load_checkpoint(hai_trainer* trainer, const char* folder);

#ifdef __cplusplus
}
#endif

/* NOLINTEND(readability-identifier-naming) */

#endif /* HAI_HAI_TRAIN_H_ */
