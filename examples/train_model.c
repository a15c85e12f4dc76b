/* Trains a model on the device, in C: `train_model net.hai steps checkpoints trained.hai`.
 *
 * The model has one input of floats and was compiled with a step of training (hai compile --train). The samples are
 * made here: class 0 where the first two numbers have one sign, else class 1. What a program would do with its own
 * samples is the same: fill the memory that is bound, take a step. Going on from a checkpoint gives the bits of a run
 * that was never stopped, and validating in between changes none.
 *
 *   gcc -std=c99 train_model.c -lhai_training -o train_model
 */
#include <hai/hai_train.h>
#include <stdio.h>
#include <stdlib.h>

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, hai_last_error());
  return 1;
}

/* A number in [-1, 1) that depends on nothing but its place: xorshift after a multiplication. */
static float number(unsigned long long place) {
  unsigned long long x = (place + 1) * 0x9E3779B97F4A7C15ULL;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93ULL;
  x ^= x >> 32;
  return (float)((double)(x >> 40) / 8388608.0 - 1.0);
}

static void make_batch(long long step, int count, int width, float* x, float* target) {
  for (int i = 0; i < count; ++i) {
    for (int k = 0; k < width; ++k)
      x[i * width + k] = number((unsigned long long)step * 1000003ULL + (unsigned long long)(i * width + k));
    const int label = x[i * width] * x[i * width + 1] > 0 ? 1 : 0;
    target[2 * i] = label == 0 ? 1.0F : 0.0F;
    target[2 * i + 1] = label == 1 ? 1.0F : 0.0F;
  }
}

/* A tensor of two dimensions. */
static hai_tensor rows_of(float* data, int rows, int columns) {
  hai_tensor tensor = {HAI_F32, 2, {0}, NULL, 0};
  tensor.dims[0] = rows;
  tensor.dims[1] = columns;
  tensor.data = data;
  tensor.size_bytes = (size_t)rows * (size_t)columns * sizeof(float);
  return tensor;
}

static int train(hai_trainer* trainer, long long steps, const char* checkpoints) {
  enum { kBatch = 32 };
  const hai_tensor_info* input = hai_train_input(trainer, 0);
  const int width = (int)input->dims[1].value;
  float* x = malloc(sizeof(float) * (size_t)(kBatch * width));
  float target[2 * kBatch];
  hai_train_result result = HAI_TRAIN_RESULT_INIT;
  hai_tensor batch[2];
  batch[0] = rows_of(x, kBatch, width);
  batch[1] = rows_of(target, kBatch, 2);
  hai_status status = hai_train_bind(trainer, batch, 2);
  while (status == HAI_OK && hai_train_steps(trainer) < steps) {
    make_batch(hai_train_steps(trainer), kBatch, width, x, target);
    status = hai_train_step(trainer, 0.02, &result);
    if (status == HAI_OK && !result.applied) break;
    if (status == HAI_OK && hai_train_steps(trainer) % 50 == 0) {
      status = hai_train_save_checkpoint(trainer, checkpoints);
      make_batch(1000000, kBatch, width, x, target); /* never trained on */
      if (status == HAI_OK) status = hai_train_validate(trainer, &result);
      if (status == HAI_OK)
        printf("step %lld: loss %.4f, %lld of %lld right\n", (long long)hai_train_steps(trainer), result.loss,
               (long long)result.correct, (long long)result.samples);
    }
  }
  free(x);
  if (status != HAI_OK) return failed("training");
  return hai_train_steps(trainer) == steps ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: train_model net.hai steps checkpoints trained.hai\n");
    return 2;
  }
  hai_model* model = NULL;
  hai_trainer* trainer = NULL;
  hai_train_options options = HAI_TRAIN_OPTIONS_INIT;
  options.threads = 1;
  int code = 0;
  if (hai_model_load(argv[1], &model) != HAI_OK) return failed("loading");
  if (hai_train_create(model, &options, &trainer) != HAI_OK) code = failed("trainer");
  hai_model_release(model); /* the trainer keeps it */
  if (code == 0) {
    const hai_status status = hai_train_load_checkpoint(trainer, argv[3]);
    if (status == HAI_OK)
      printf("goes on after step %lld\n", (long long)hai_train_steps(trainer));
    else if (status != HAI_NOT_FOUND)
      code = failed("checkpoint");
  }
  if (code == 0) code = train(trainer, atoll(argv[2]), argv[3]);
  if (code == 0 && hai_train_save(trainer, argv[4]) != HAI_OK) code = failed("saving");
  hai_train_release(trainer);
  return code;
}
