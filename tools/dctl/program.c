/* The program around dctl_main. */
#include "dctl.h"

int main(int argc, char **argv)
{
    return dctl_main(argc, argv, stdout, stderr);
}
