/* Loads a plan of the trained MMoE and scores four candidates:
 *     mtlc tests/fixtures/trained_mmoe_ts17.onnx -o plan.bin
 *     cc embed.c -o embed $(pkg-config --cflags --libs mtlrt) && ./embed plan.bin */
#include <mtlc/runtime.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    static float x[4][64], click[4], cart[4], order[4]; /* `mtlrun info plan.bin` tells names and shapes */
    const void *inputs[] = {x};
    void *outputs[] = {click, cart, order};
    mtl_error error = {.message = "usage: embed PLAN"};
    mtl_plan *plan;
    mtl_session *session;
    if (argc != 2 || mtl_plan_open(argv[1], NULL, &plan, &error) || mtl_session_create(plan, NULL, &session, &error) ||
        mtl_session_run(session, 4, inputs, outputs, &error)) {
        return fprintf(stderr, "%s\n", error.message), 1;
    }
    printf("click %.6f cart %.6f order %.6f\n", click[3], cart[3], order[3]);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
    return 0;
}
