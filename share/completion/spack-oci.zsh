# completion of `spack oci`; load it behind Spack's setup-env.sh, which has zsh use what is made for bash
. "${${(%):-%x}:A:h}/spack-oci.bash"
