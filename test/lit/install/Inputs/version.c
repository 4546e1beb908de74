#include <bfrt.h>
#include <stdio.h>

int main(void) {
    printf("libbfrt %s\n", bfrt_version());
    return 0;
}
