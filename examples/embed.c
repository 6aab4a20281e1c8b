/* Loads a plan and scores four candidates, all features zero:
 *     cc embed.c -o embed $(pkg-config --cflags --libs mtlrt) && ./embed plan.bin */
#include <mtlc/runtime.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 4, MOST = 64 };

static void *zeros(const mtl_tensor_info *tensor)
{
    size_t bytes = mtl_dtype_size(tensor->dtype);
    for (int axis = 0; axis < tensor->rank; axis++) {
        bytes *= (size_t)mtl_dim_extent(tensor->shape[axis], ROWS, 1);
    }
    return calloc(1, bytes);
}

int main(int argc, char **argv)
{
    mtl_error error = {.message = "usage: embed PLAN"};
    mtl_plan *plan = NULL;
    mtl_session *session = NULL;
    const void *inputs[MOST];
    void *outputs[MOST];
    if (argc != 2 || mtl_plan_open(argv[1], NULL, &plan, &error) || mtl_session_create(plan, NULL, &session, &error)) {
        return fprintf(stderr, "%s\n", error.message), 1;
    }
    for (size_t i = 0; i < mtl_plan_input_count(plan) && i < MOST; i++) {
        inputs[i] = zeros(mtl_plan_input(plan, i));
    }
    for (size_t i = 0; i < mtl_plan_output_count(plan) && i < MOST; i++) {
        outputs[i] = zeros(mtl_plan_output(plan, i));
    }
    if (mtl_session_run(session, ROWS, inputs, outputs, &error)) {
        return fprintf(stderr, "%s\n", error.message), 1;
    }
    for (size_t i = 0; i < mtl_plan_output_count(plan); i++) {
        if (mtl_plan_output(plan, i)->dtype == MTL_F32) {
            printf("%s: %g\n", mtl_plan_output(plan, i)->name, (double)*(const float *)outputs[i]);
        }
    }
    mtl_session_destroy(session);
    mtl_plan_close(plan);
    return 0;
}
