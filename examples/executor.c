/* Scores 1,024 candidates on threads of the host's own: here OpenMP's, in your service those of its task system.
 *     mtlc tests/fixtures/trained_mmoe_ts17.onnx -o plan.bin
 *     cc -fopenmp executor.c -o executor $(pkg-config --cflags --libs mtlrt) && ./executor plan.bin */
#include <mtlc/runtime.h>
#include <stdio.h>

enum { ROWS = 1024 };

/* Every index once, on any thread and in any order; back when all are done. */
static void parallel_for(void *context, size_t count, void (*task)(void *argument, size_t index), void *argument)
{
    *(size_t *)context += count;
#pragma omp parallel for schedule(static, 1)
    for (size_t i = 0; i < count; i++) {
        task(argument, i);
    }
}

int main(int argc, char **argv)
{
    static float x[ROWS][64], click[ROWS], cart[ROWS], order[ROWS];
    const void *inputs[] = {x};
    void *outputs[] = {click, cart, order};
    size_t tasks = 0;
    mtl_executor executor = {.context = &tasks, .parallel_for = parallel_for};
    mtl_session_options options = {
        .struct_size = sizeof options, .executor = &executor, .threads = 2, .rows_per_thread = 128};
    mtl_error error = {.message = "usage: executor PLAN"};
    mtl_plan *plan;
    mtl_session *session;
    if (argc != 2 || mtl_plan_open(argv[1], NULL, &plan, &error) ||
        mtl_session_create(plan, &options, &session, &error) ||
        mtl_session_run(session, ROWS, inputs, outputs, &error)) {
        return fprintf(stderr, "%s\n", error.message), 1;
    }
    printf("%zu tasks: click %.6f cart %.6f order %.6f\n", tasks, click[ROWS - 1], cart[ROWS - 1], order[ROWS - 1]);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
    return 0;
}
