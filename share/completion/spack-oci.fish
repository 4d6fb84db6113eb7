# completion of `spack oci`; load it behind Spack's setup-env.fish
complete -c spack -n '__fish_spack_using_command_pos 0 ' -f -a oci -d 'OCI registries as binary caches'

# spack oci
set -g __fish_spack_optspecs_spack_oci h/help version
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a push -d 'push installed packages to a mirror'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a create -d 'push installed packages to a mirror'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a install -d 'install packages from OCI mirrors, on all cores'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a fetch -d 'fetch packages from OCI mirrors without installing them'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a update-index -d 'make the index of a mirror say what it has'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a rebuild-index -d 'make the index of a mirror say what it has'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a list -d 'list the packages of a mirror'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a show -d 'show all that a mirror has of a package or an image'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a catalog -d 'write a static page that shows what a mirror has'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a copy -d 'copy packages and images from one mirror to another'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a sync -d 'copy packages and images from one mirror to another'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a prune -d 'remove packages from a mirror that nobody needs'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a pin -d 'keep packages of a mirror from being pruned'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a unpin -d 'remove a pin'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a pins -d 'list the pins of a mirror'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a snapshot -d 'name a part of a mirror, which is then a mirror of its own'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a snapshots -d 'list the snapshots of a mirror'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a du -d 'show where the bytes of a mirror are'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a export -d 'write the image of an environment or of specs to a file or directory'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a sign -d 'sign packages that a mirror has already'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a verify -d 'verify the index, manifests, layers and signatures of a mirror'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a repair -d 'put right what is wrong with a mirror, where nothing can be lost by it'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a key -d 'make, show and trust keys that sign packages'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a trust -d 'show the policies of mirrors; accept an index that is older than one seen before'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a login -d 'log in to a registry'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a logout -d 'forget the credentials of a registry'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a doctor -d 'check whether mirrors work, and say why not'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a clean -d 'remove cached blobs from this machine'
complete -c spack -n '__fish_spack_using_command_pos 0 oci' -f -a completion -d 'say where the script is that completes `spack oci` in your shell, print one, or write man pages'
complete -c spack -n '__fish_spack_using_command oci' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci' -l version -f -a version
complete -c spack -n '__fish_spack_using_command oci' -l version -d 'show the version of spack-oci and exit'

# spack oci push
set -g __fish_spack_optspecs_spack_oci_push h/help f/force only= with-build-dependencies without-build-dependencies fail-fast if-writable update-index compression= n/dry-run sign= k/key= signed u/unsigned sbom provenance digests= exclude= not-in= group= allow-missing private base-image= skip-libc-check t/tag= entrypoint= cmd= env= label= user= workdir= port= volume= multi-arch layer-strategy= squash strip-build-info exclude-files= json j/jobs=

complete -c spack -n '__fish_spack_using_command oci push' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci push' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci push' -s f -l force -f -a force
complete -c spack -n '__fish_spack_using_command oci push' -s f -l force -d 'push again what is there already'
complete -c spack -n '__fish_spack_using_command oci push' -l only -r -f -a 'package dependencies package,dependencies'
complete -c spack -n '__fish_spack_using_command oci push' -l only -r -d 'push only the named packages, or only their dependencies (default: both)'
complete -c spack -n '__fish_spack_using_command oci push' -l with-build-dependencies -f -a with_build_dependencies
complete -c spack -n '__fish_spack_using_command oci push' -l with-build-dependencies -d 'push build dependencies too (default)'
complete -c spack -n '__fish_spack_using_command oci push' -l without-build-dependencies -f -a without_build_dependencies
complete -c spack -n '__fish_spack_using_command oci push' -l without-build-dependencies -d 'leave build dependencies out'
complete -c spack -n '__fish_spack_using_command oci push' -l fail-fast -f -a fail_fast
complete -c spack -n '__fish_spack_using_command oci push' -l fail-fast -d 'stop at the first failure (default: best effort)'
complete -c spack -n '__fish_spack_using_command oci push' -l if-writable -f -a if_writable
complete -c spack -n '__fish_spack_using_command oci push' -l if-writable -d 'where the token or the directory may only be read, as in pipelines of forks: say so, and exit with 0'
complete -c spack -n '__fish_spack_using_command oci push' -l update-index -l rebuild-index -f -a update_index
complete -c spack -n '__fish_spack_using_command oci push' -l update-index -l rebuild-index -d 'update the mirror'"'"'s index after the push'
complete -c spack -n '__fish_spack_using_command oci push' -l compression -r -f -a compression
complete -c spack -n '__fish_spack_using_command oci push' -l compression -r -d 'auto (gzip, its level after the speed of the link), gzip[:1-9] or zstd[:1-22] for new layers; zstd:9 for those who install over a slow link'
complete -c spack -n '__fish_spack_using_command oci push' -s n -l dry-run -f -a dry_run
complete -c spack -n '__fish_spack_using_command oci push' -s n -l dry-run -d 'print what would be done, and do nothing'
complete -c spack -n '__fish_spack_using_command oci push' -l sign -r -f -a sign
complete -c spack -n '__fish_spack_using_command oci push' -l sign -r -d 'sign what is pushed with the private key in a file (default: what oci:signing names, if it names one)'
complete -c spack -n '__fish_spack_using_command oci push' -s k -l key -r -f -a sign
complete -c spack -n '__fish_spack_using_command oci push' -s k -l key -r -d 'as --sign KEY'
complete -c spack -n '__fish_spack_using_command oci push' -l signed -f -a sign
complete -c spack -n '__fish_spack_using_command oci push' -l signed -d 'as --sign'
complete -c spack -n '__fish_spack_using_command oci push' -s u -l unsigned -f -a unsigned
complete -c spack -n '__fish_spack_using_command oci push' -s u -l unsigned -d 'do not sign, though oci:signing names a key'
complete -c spack -n '__fish_spack_using_command oci push' -l sbom -f -a sbom
complete -c spack -n '__fish_spack_using_command oci push' -l sbom -d 'attach a software bill of materials (SPDX) to packages and images, which scanners find as a referrer'
complete -c spack -n '__fish_spack_using_command oci push' -l provenance -f -a provenance
complete -c spack -n '__fish_spack_using_command oci push' -l provenance -d 'attach a statement of provenance (in-toto, SLSA) to packages, signed as the packages are'
complete -c spack -n '__fish_spack_using_command oci push' -l digests -r -f -a digests
complete -c spack -n '__fish_spack_using_command oci push' -l digests -r -d 'write HOST/NAME@DIGEST of what was pushed, a line each, for a signer of your own; -: standard output'
complete -c spack -n '__fish_spack_using_command oci push' -l exclude -r -f -a exclude
complete -c spack -n '__fish_spack_using_command oci push' -l exclude -r -d 'do not push what satisfies this spec, e.g. cuda (repeatable; besides oci:push:exclude)'
complete -c spack -n '__fish_spack_using_command oci push' -l not-in -r -f -a not_in
complete -c spack -n '__fish_spack_using_command oci push' -l not-in -r -d 'do not push what this mirror has, e.g. a central cache'
complete -c spack -n '__fish_spack_using_command oci push' -l group -r -f -a groups
complete -c spack -n '__fish_spack_using_command oci push' -l group -r -d 'push the specs of this group of the active environment only (repeatable; Spack 1.2 and later)'
complete -c spack -n '__fish_spack_using_command oci push' -l allow-missing -f -a allow_missing
complete -c spack -n '__fish_spack_using_command oci push' -l allow-missing -d 'do not fail for named packages that are not installed'
complete -c spack -n '__fish_spack_using_command oci push' -l private -f -a private
complete -c spack -n '__fish_spack_using_command oci push' -l private -d 'push packages too that may not be redistributed'
complete -c spack -n '__fish_spack_using_command oci push' -l base-image -r -f -a base_image
complete -c spack -n '__fish_spack_using_command oci push' -l base-image -r -d 'build the images on this one: debian:12, HOST/NAME:TAG, oci+file:///DIR:TAG (default: oci:base_image)'
complete -c spack -n '__fish_spack_using_command oci push' -l skip-libc-check -f -a skip_libc_check
complete -c spack -n '__fish_spack_using_command oci push' -l skip-libc-check -d 'do not compare the base image'"'"'s C library with the packages'"'"''
complete -c spack -n '__fish_spack_using_command oci push' -s t -l tag -r -f -a tags
complete -c spack -n '__fish_spack_using_command oci push' -s t -l tag -r -d 'make an image of the named specs, or of the environment'"'"'s roots, with all that they need (repeatable)'
complete -c spack -n '__fish_spack_using_command oci push' -l entrypoint -r -f -a entrypoint
complete -c spack -n '__fish_spack_using_command oci push' -l entrypoint -r -d 'program that is run: words, or a JSON list'
complete -c spack -n '__fish_spack_using_command oci push' -l cmd -r -f -a cmd
complete -c spack -n '__fish_spack_using_command oci push' -l cmd -r -d 'its arguments when none are given: words, or a JSON list'
complete -c spack -n '__fish_spack_using_command oci push' -l env -r -f -a env
complete -c spack -n '__fish_spack_using_command oci push' -l env -r -d 'environment variable'
complete -c spack -n '__fish_spack_using_command oci push' -l label -r -f -a label
complete -c spack -n '__fish_spack_using_command oci push' -l label -r -d 'label of the image'
complete -c spack -n '__fish_spack_using_command oci push' -l user -r -f -a user
complete -c spack -n '__fish_spack_using_command oci push' -l user -r -d 'USER, UID, USER:GROUP or UID:GID that the program runs as'
complete -c spack -n '__fish_spack_using_command oci push' -l workdir -r -f -a workdir
complete -c spack -n '__fish_spack_using_command oci push' -l workdir -r -d 'working directory'
complete -c spack -n '__fish_spack_using_command oci push' -l port -r -f -a port
complete -c spack -n '__fish_spack_using_command oci push' -l port -r -d 'port that is listened on'
complete -c spack -n '__fish_spack_using_command oci push' -l volume -r -f -a volume
complete -c spack -n '__fish_spack_using_command oci push' -l volume -r -d 'directory for data that stays'
complete -c spack -n '__fish_spack_using_command oci push' -l multi-arch -f -a multi_arch
complete -c spack -n '__fish_spack_using_command oci push' -l multi-arch -d 'add the image to what the tag has for other platforms'
complete -c spack -n '__fish_spack_using_command oci push' -l layer-strategy -r -f -a 'size popularity volatility'
complete -c spack -n '__fish_spack_using_command oci push' -l layer-strategy -r -d 'which packages share a layer when there are more than oci:max_layers (default: volatility)'
complete -c spack -n '__fish_spack_using_command oci push' -l squash -f -a squash
complete -c spack -n '__fish_spack_using_command oci push' -l squash -d 'put all packages into one layer'
complete -c spack -n '__fish_spack_using_command oci push' -l strip-build-info -f -a strip_build_info
complete -c spack -n '__fish_spack_using_command oci push' -l strip-build-info -d 'leave out what is only for building: .spack, headers, static libraries, man pages, CMake and pkg-config'
complete -c spack -n '__fish_spack_using_command oci push' -l exclude-files -r -f -a exclude_files
complete -c spack -n '__fish_spack_using_command oci push' -l exclude-files -r -d 'leave these files out of the image'
complete -c spack -n '__fish_spack_using_command oci push' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci push' -l json -d 'print the result as JSON'
complete -c spack -n '__fish_spack_using_command oci push' -s j -l jobs -r -f -a jobs
complete -c spack -n '__fish_spack_using_command oci push' -s j -l jobs -r -d 'explicitly set number of parallel jobs'

# spack oci create
set -g __fish_spack_optspecs_spack_oci_create h/help f/force only= with-build-dependencies without-build-dependencies fail-fast if-writable update-index compression= n/dry-run sign= k/key= signed u/unsigned sbom provenance digests= exclude= not-in= group= allow-missing private base-image= skip-libc-check t/tag= entrypoint= cmd= env= label= user= workdir= port= volume= multi-arch layer-strategy= squash strip-build-info exclude-files= json j/jobs=

complete -c spack -n '__fish_spack_using_command oci create' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci create' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci create' -s f -l force -f -a force
complete -c spack -n '__fish_spack_using_command oci create' -s f -l force -d 'push again what is there already'
complete -c spack -n '__fish_spack_using_command oci create' -l only -r -f -a 'package dependencies package,dependencies'
complete -c spack -n '__fish_spack_using_command oci create' -l only -r -d 'push only the named packages, or only their dependencies (default: both)'
complete -c spack -n '__fish_spack_using_command oci create' -l with-build-dependencies -f -a with_build_dependencies
complete -c spack -n '__fish_spack_using_command oci create' -l with-build-dependencies -d 'push build dependencies too (default)'
complete -c spack -n '__fish_spack_using_command oci create' -l without-build-dependencies -f -a without_build_dependencies
complete -c spack -n '__fish_spack_using_command oci create' -l without-build-dependencies -d 'leave build dependencies out'
complete -c spack -n '__fish_spack_using_command oci create' -l fail-fast -f -a fail_fast
complete -c spack -n '__fish_spack_using_command oci create' -l fail-fast -d 'stop at the first failure (default: best effort)'
complete -c spack -n '__fish_spack_using_command oci create' -l if-writable -f -a if_writable
complete -c spack -n '__fish_spack_using_command oci create' -l if-writable -d 'where the token or the directory may only be read, as in pipelines of forks: say so, and exit with 0'
complete -c spack -n '__fish_spack_using_command oci create' -l update-index -l rebuild-index -f -a update_index
complete -c spack -n '__fish_spack_using_command oci create' -l update-index -l rebuild-index -d 'update the mirror'"'"'s index after the push'
complete -c spack -n '__fish_spack_using_command oci create' -l compression -r -f -a compression
complete -c spack -n '__fish_spack_using_command oci create' -l compression -r -d 'auto (gzip, its level after the speed of the link), gzip[:1-9] or zstd[:1-22] for new layers; zstd:9 for those who install over a slow link'
complete -c spack -n '__fish_spack_using_command oci create' -s n -l dry-run -f -a dry_run
complete -c spack -n '__fish_spack_using_command oci create' -s n -l dry-run -d 'print what would be done, and do nothing'
complete -c spack -n '__fish_spack_using_command oci create' -l sign -r -f -a sign
complete -c spack -n '__fish_spack_using_command oci create' -l sign -r -d 'sign what is pushed with the private key in a file (default: what oci:signing names, if it names one)'
complete -c spack -n '__fish_spack_using_command oci create' -s k -l key -r -f -a sign
complete -c spack -n '__fish_spack_using_command oci create' -s k -l key -r -d 'as --sign KEY'
complete -c spack -n '__fish_spack_using_command oci create' -l signed -f -a sign
complete -c spack -n '__fish_spack_using_command oci create' -l signed -d 'as --sign'
complete -c spack -n '__fish_spack_using_command oci create' -s u -l unsigned -f -a unsigned
complete -c spack -n '__fish_spack_using_command oci create' -s u -l unsigned -d 'do not sign, though oci:signing names a key'
complete -c spack -n '__fish_spack_using_command oci create' -l sbom -f -a sbom
complete -c spack -n '__fish_spack_using_command oci create' -l sbom -d 'attach a software bill of materials (SPDX) to packages and images, which scanners find as a referrer'
complete -c spack -n '__fish_spack_using_command oci create' -l provenance -f -a provenance
complete -c spack -n '__fish_spack_using_command oci create' -l provenance -d 'attach a statement of provenance (in-toto, SLSA) to packages, signed as the packages are'
complete -c spack -n '__fish_spack_using_command oci create' -l digests -r -f -a digests
complete -c spack -n '__fish_spack_using_command oci create' -l digests -r -d 'write HOST/NAME@DIGEST of what was pushed, a line each, for a signer of your own; -: standard output'
complete -c spack -n '__fish_spack_using_command oci create' -l exclude -r -f -a exclude
complete -c spack -n '__fish_spack_using_command oci create' -l exclude -r -d 'do not push what satisfies this spec, e.g. cuda (repeatable; besides oci:push:exclude)'
complete -c spack -n '__fish_spack_using_command oci create' -l not-in -r -f -a not_in
complete -c spack -n '__fish_spack_using_command oci create' -l not-in -r -d 'do not push what this mirror has, e.g. a central cache'
complete -c spack -n '__fish_spack_using_command oci create' -l group -r -f -a groups
complete -c spack -n '__fish_spack_using_command oci create' -l group -r -d 'push the specs of this group of the active environment only (repeatable; Spack 1.2 and later)'
complete -c spack -n '__fish_spack_using_command oci create' -l allow-missing -f -a allow_missing
complete -c spack -n '__fish_spack_using_command oci create' -l allow-missing -d 'do not fail for named packages that are not installed'
complete -c spack -n '__fish_spack_using_command oci create' -l private -f -a private
complete -c spack -n '__fish_spack_using_command oci create' -l private -d 'push packages too that may not be redistributed'
complete -c spack -n '__fish_spack_using_command oci create' -l base-image -r -f -a base_image
complete -c spack -n '__fish_spack_using_command oci create' -l base-image -r -d 'build the images on this one: debian:12, HOST/NAME:TAG, oci+file:///DIR:TAG (default: oci:base_image)'
complete -c spack -n '__fish_spack_using_command oci create' -l skip-libc-check -f -a skip_libc_check
complete -c spack -n '__fish_spack_using_command oci create' -l skip-libc-check -d 'do not compare the base image'"'"'s C library with the packages'"'"''
complete -c spack -n '__fish_spack_using_command oci create' -s t -l tag -r -f -a tags
complete -c spack -n '__fish_spack_using_command oci create' -s t -l tag -r -d 'make an image of the named specs, or of the environment'"'"'s roots, with all that they need (repeatable)'
complete -c spack -n '__fish_spack_using_command oci create' -l entrypoint -r -f -a entrypoint
complete -c spack -n '__fish_spack_using_command oci create' -l entrypoint -r -d 'program that is run: words, or a JSON list'
complete -c spack -n '__fish_spack_using_command oci create' -l cmd -r -f -a cmd
complete -c spack -n '__fish_spack_using_command oci create' -l cmd -r -d 'its arguments when none are given: words, or a JSON list'
complete -c spack -n '__fish_spack_using_command oci create' -l env -r -f -a env
complete -c spack -n '__fish_spack_using_command oci create' -l env -r -d 'environment variable'
complete -c spack -n '__fish_spack_using_command oci create' -l label -r -f -a label
complete -c spack -n '__fish_spack_using_command oci create' -l label -r -d 'label of the image'
complete -c spack -n '__fish_spack_using_command oci create' -l user -r -f -a user
complete -c spack -n '__fish_spack_using_command oci create' -l user -r -d 'USER, UID, USER:GROUP or UID:GID that the program runs as'
complete -c spack -n '__fish_spack_using_command oci create' -l workdir -r -f -a workdir
complete -c spack -n '__fish_spack_using_command oci create' -l workdir -r -d 'working directory'
complete -c spack -n '__fish_spack_using_command oci create' -l port -r -f -a port
complete -c spack -n '__fish_spack_using_command oci create' -l port -r -d 'port that is listened on'
complete -c spack -n '__fish_spack_using_command oci create' -l volume -r -f -a volume
complete -c spack -n '__fish_spack_using_command oci create' -l volume -r -d 'directory for data that stays'
complete -c spack -n '__fish_spack_using_command oci create' -l multi-arch -f -a multi_arch
complete -c spack -n '__fish_spack_using_command oci create' -l multi-arch -d 'add the image to what the tag has for other platforms'
complete -c spack -n '__fish_spack_using_command oci create' -l layer-strategy -r -f -a 'size popularity volatility'
complete -c spack -n '__fish_spack_using_command oci create' -l layer-strategy -r -d 'which packages share a layer when there are more than oci:max_layers (default: volatility)'
complete -c spack -n '__fish_spack_using_command oci create' -l squash -f -a squash
complete -c spack -n '__fish_spack_using_command oci create' -l squash -d 'put all packages into one layer'
complete -c spack -n '__fish_spack_using_command oci create' -l strip-build-info -f -a strip_build_info
complete -c spack -n '__fish_spack_using_command oci create' -l strip-build-info -d 'leave out what is only for building: .spack, headers, static libraries, man pages, CMake and pkg-config'
complete -c spack -n '__fish_spack_using_command oci create' -l exclude-files -r -f -a exclude_files
complete -c spack -n '__fish_spack_using_command oci create' -l exclude-files -r -d 'leave these files out of the image'
complete -c spack -n '__fish_spack_using_command oci create' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci create' -l json -d 'print the result as JSON'
complete -c spack -n '__fish_spack_using_command oci create' -s j -l jobs -r -f -a jobs
complete -c spack -n '__fish_spack_using_command oci create' -s j -l jobs -r -d 'explicitly set number of parallel jobs'

# spack oci install
set -g __fish_spack_optspecs_spack_oci_install h/help n/dry-run no-check-signature only= include-build-deps overwrite fail-fast add no-add only-concrete v/verbose use-cache show-log-on-error p/concurrent-packages= json j/jobs= y/yes-to-all f/force U/fresh reuse fresh-roots deprecated

complete -c spack -n '__fish_spack_using_command oci install' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci install' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci install' -s n -l dry-run -f -a dry_run
complete -c spack -n '__fish_spack_using_command oci install' -s n -l dry-run -d 'print what would be done, and do nothing'
complete -c spack -n '__fish_spack_using_command oci install' -l no-check-signature -f -a unsigned
complete -c spack -n '__fish_spack_using_command oci install' -l no-check-signature -d 'do not ask for signatures, whatever the policies of oci:trust say'
complete -c spack -n '__fish_spack_using_command oci install' -l only -r -f -a 'package dependencies package,dependencies'
complete -c spack -n '__fish_spack_using_command oci install' -l only -r -d 'install only the named packages, whose dependencies must be installed, or only their dependencies'
complete -c spack -n '__fish_spack_using_command oci install' -l include-build-deps -f -a include_build_deps
complete -c spack -n '__fish_spack_using_command oci install' -l include-build-deps -d 'install build dependencies too'
complete -c spack -n '__fish_spack_using_command oci install' -l overwrite -f -a overwrite
complete -c spack -n '__fish_spack_using_command oci install' -l overwrite -d 'install the named packages again, also if they are'
complete -c spack -n '__fish_spack_using_command oci install' -l fail-fast -f -a fail_fast
complete -c spack -n '__fish_spack_using_command oci install' -l fail-fast -d 'stop at the first failure (default: best effort)'
complete -c spack -n '__fish_spack_using_command oci install' -l add -f -a add
complete -c spack -n '__fish_spack_using_command oci install' -l add -d 'add the specs to the active environment first'
complete -c spack -n '__fish_spack_using_command oci install' -l no-add -f -a add
complete -c spack -n '__fish_spack_using_command oci install' -l no-add -d 'do not add them (default)'
complete -c spack -n '__fish_spack_using_command oci install' -l only-concrete -f -a only_concrete
complete -c spack -n '__fish_spack_using_command oci install' -l only-concrete -d 'in an environment: do not concretize what is not concrete yet'
complete -c spack -n '__fish_spack_using_command oci install' -s v -l verbose -f -a install_verbose
complete -c spack -n '__fish_spack_using_command oci install' -s v -l verbose -d 'print where each package is fetched from'
complete -c spack -n '__fish_spack_using_command oci install' -l use-cache -l cache-only -f -a use_cache
complete -c spack -n '__fish_spack_using_command oci install' -l use-cache -l cache-only -d 'packages come from caches only'
complete -c spack -n '__fish_spack_using_command oci install' -l show-log-on-error -f -a show_log_on_error
complete -c spack -n '__fish_spack_using_command oci install' -l show-log-on-error -d 'there are no logs of builds'
complete -c spack -n '__fish_spack_using_command oci install' -s p -l concurrent-packages -r -f -a concurrent_packages
complete -c spack -n '__fish_spack_using_command oci install' -s p -l concurrent-packages -r -d 'as --jobs'
complete -c spack -n '__fish_spack_using_command oci install' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci install' -l json -d 'print the result as JSON'
complete -c spack -n '__fish_spack_using_command oci install' -s j -l jobs -r -f -a jobs
complete -c spack -n '__fish_spack_using_command oci install' -s j -l jobs -r -d 'explicitly set number of parallel jobs'
complete -c spack -n '__fish_spack_using_command oci install' -s y -l yes-to-all -f -a yes_to_all
complete -c spack -n '__fish_spack_using_command oci install' -s y -l yes-to-all -d 'assume "yes" is the answer to every confirmation request'
complete -c spack -n '__fish_spack_using_command oci install' -s f -l force -f -a concretizer_force
complete -c spack -n '__fish_spack_using_command oci install' -s f -l force -d 'allow changes to concretized specs in spack.lock (in an env)'
complete -c spack -n '__fish_spack_using_command oci install' -s U -l fresh -f -a concretizer_reuse
complete -c spack -n '__fish_spack_using_command oci install' -s U -l fresh -d 'do not reuse installed deps; build newest configuration'
complete -c spack -n '__fish_spack_using_command oci install' -l reuse -f -a concretizer_reuse
complete -c spack -n '__fish_spack_using_command oci install' -l reuse -d 'reuse installed packages/buildcaches when possible'
complete -c spack -n '__fish_spack_using_command oci install' -l fresh-roots -l reuse-deps -f -a concretizer_reuse
complete -c spack -n '__fish_spack_using_command oci install' -l fresh-roots -l reuse-deps -d 'concretize with fresh roots and reused dependencies'
complete -c spack -n '__fish_spack_using_command oci install' -l deprecated -f -a config_deprecated
complete -c spack -n '__fish_spack_using_command oci install' -l deprecated -d 'allow concretizer to select deprecated versions'

# spack oci fetch
set -g __fish_spack_optspecs_spack_oci_fetch h/help no-check-signature json f/force U/fresh reuse fresh-roots deprecated

complete -c spack -n '__fish_spack_using_command oci fetch' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci fetch' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci fetch' -l no-check-signature -f -a unsigned
complete -c spack -n '__fish_spack_using_command oci fetch' -l no-check-signature -d 'do not ask for signatures, whatever the policies of oci:trust say'
complete -c spack -n '__fish_spack_using_command oci fetch' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci fetch' -l json -d 'print the result as JSON'
complete -c spack -n '__fish_spack_using_command oci fetch' -s f -l force -f -a concretizer_force
complete -c spack -n '__fish_spack_using_command oci fetch' -s f -l force -d 'allow changes to concretized specs in spack.lock (in an env)'
complete -c spack -n '__fish_spack_using_command oci fetch' -s U -l fresh -f -a concretizer_reuse
complete -c spack -n '__fish_spack_using_command oci fetch' -s U -l fresh -d 'do not reuse installed deps; build newest configuration'
complete -c spack -n '__fish_spack_using_command oci fetch' -l reuse -f -a concretizer_reuse
complete -c spack -n '__fish_spack_using_command oci fetch' -l reuse -d 'reuse installed packages/buildcaches when possible'
complete -c spack -n '__fish_spack_using_command oci fetch' -l fresh-roots -l reuse-deps -f -a concretizer_reuse
complete -c spack -n '__fish_spack_using_command oci fetch' -l fresh-roots -l reuse-deps -d 'concretize with fresh roots and reused dependencies'
complete -c spack -n '__fish_spack_using_command oci fetch' -l deprecated -f -a config_deprecated
complete -c spack -n '__fish_spack_using_command oci fetch' -l deprecated -d 'allow concretizer to select deprecated versions'

# spack oci update-index
set -g __fish_spack_optspecs_spack_oci_update_index h/help full new-only create strict json

complete -c spack -n '__fish_spack_using_command oci update-index' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci update-index' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci update-index' -l full -f -a full
complete -c spack -n '__fish_spack_using_command oci update-index' -l full -d 'read every package again, also those the index knows'
complete -c spack -n '__fish_spack_using_command oci update-index' -l new-only -f -a new_only
complete -c spack -n '__fish_spack_using_command oci update-index' -l new-only -d 'do not look whether packages that the index knows were pushed again'
complete -c spack -n '__fish_spack_using_command oci update-index' -l create -f -a create
complete -c spack -n '__fish_spack_using_command oci update-index' -l create -d 'make an index also where there are no packages yet'
complete -c spack -n '__fish_spack_using_command oci update-index' -l strict -f -a strict
complete -c spack -n '__fish_spack_using_command oci update-index' -l strict -d 'exit with an error if a package could not be read'
complete -c spack -n '__fish_spack_using_command oci update-index' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci update-index' -l json -d 'print the result as JSON'

# spack oci rebuild-index
set -g __fish_spack_optspecs_spack_oci_rebuild_index h/help full new-only create strict json

complete -c spack -n '__fish_spack_using_command oci rebuild-index' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l full -f -a full
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l full -d 'read every package again, also those the index knows'
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l new-only -f -a new_only
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l new-only -d 'do not look whether packages that the index knows were pushed again'
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l create -f -a create
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l create -d 'make an index also where there are no packages yet'
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l strict -f -a strict
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l strict -d 'exit with an error if a package could not be read'
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci rebuild-index' -l json -d 'print the result as JSON'

# spack oci list
set -g __fish_spack_optspecs_spack_oci_list h/help l/long L/very-long N/namespaces v/variants a/allarch sizes json tags images

complete -c spack -n '__fish_spack_using_command oci list' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci list' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci list' -s l -l long -f -a long
complete -c spack -n '__fish_spack_using_command oci list' -s l -l long -d 'show dependency hashes as well as versions'
complete -c spack -n '__fish_spack_using_command oci list' -s L -l very-long -f -a very_long
complete -c spack -n '__fish_spack_using_command oci list' -s L -l very-long -d 'show full dependency hashes as well as versions'
complete -c spack -n '__fish_spack_using_command oci list' -s N -l namespaces -f -a namespaces
complete -c spack -n '__fish_spack_using_command oci list' -s N -l namespaces -d 'show fully qualified package names'
complete -c spack -n '__fish_spack_using_command oci list' -s v -l variants -f -a variants
complete -c spack -n '__fish_spack_using_command oci list' -s v -l variants -d 'show variants in output (can be long)'
complete -c spack -n '__fish_spack_using_command oci list' -s a -l allarch -f -a allarch
complete -c spack -n '__fish_spack_using_command oci list' -s a -l allarch -d 'list all architectures, not only this one'"'"'s platform and OS'
complete -c spack -n '__fish_spack_using_command oci list' -l sizes -f -a sizes
complete -c spack -n '__fish_spack_using_command oci list' -l sizes -d 'show how large the packages are, compressed'
complete -c spack -n '__fish_spack_using_command oci list' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci list' -l json -d 'print the result as JSON'
complete -c spack -n '__fish_spack_using_command oci list' -l tags -f -a tags
complete -c spack -n '__fish_spack_using_command oci list' -l tags -d 'show packages as HOST/NAME:TAG, for container tools'
complete -c spack -n '__fish_spack_using_command oci list' -l images -f -a images
complete -c spack -n '__fish_spack_using_command oci list' -l images -d 'list the images besides packages, such as those of `push --tag`'

# spack oci show
set -g __fish_spack_optspecs_spack_oci_show h/help json sbom

complete -c spack -n '__fish_spack_using_command oci show' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci show' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci show' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci show' -l json -d 'print the result as JSON'
complete -c spack -n '__fish_spack_using_command oci show' -l sbom -f -a sbom
complete -c spack -n '__fish_spack_using_command oci show' -l sbom -d 'print the software bill of materials (SPDX) that it has'

# spack oci catalog
set -g __fish_spack_optspecs_spack_oci_catalog h/help title= url= json

complete -c spack -n '__fish_spack_using_command oci catalog' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci catalog' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci catalog' -l title -r -f -a title
complete -c spack -n '__fish_spack_using_command oci catalog' -l title -r -d 'heading of the page (default: the URL)'
complete -c spack -n '__fish_spack_using_command oci catalog' -l url -r -f -a url
complete -c spack -n '__fish_spack_using_command oci catalog' -l url -r -d 'how the commands on the page name the cache (default: by its URL)'
complete -c spack -n '__fish_spack_using_command oci catalog' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci catalog' -l json -d 'print the result as JSON'

# spack oci copy
set -g __fish_spack_optspecs_spack_oci_copy h/help lock= tag= with-build-dependencies platform= full delete j/jobs= n/dry-run json

complete -c spack -n '__fish_spack_using_command oci copy' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci copy' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci copy' -l lock -r -f -a lock
complete -c spack -n '__fish_spack_using_command oci copy' -l lock -r -d 'copy what this spack.lock has; may be repeated'
complete -c spack -n '__fish_spack_using_command oci copy' -l tag -r -f -a tag
complete -c spack -n '__fish_spack_using_command oci copy' -l tag -r -d 'copy this image; may be repeated'
complete -c spack -n '__fish_spack_using_command oci copy' -l with-build-dependencies -f -a with_build_dependencies
complete -c spack -n '__fish_spack_using_command oci copy' -l with-build-dependencies -d 'also what the packages were built with'
complete -c spack -n '__fish_spack_using_command oci copy' -l platform -r -f -a platform
complete -c spack -n '__fish_spack_using_command oci copy' -l platform -r -d 'of images for several platforms only this one'
complete -c spack -n '__fish_spack_using_command oci copy' -l full -f -a full
complete -c spack -n '__fish_spack_using_command oci copy' -l full -d 'compare each tag and look for its layers, instead of comparing the indexes of both'
complete -c spack -n '__fish_spack_using_command oci copy' -l delete -f -a delete
complete -c spack -n '__fish_spack_using_command oci copy' -l delete -d 'remove what FROM has not from TO'
complete -c spack -n '__fish_spack_using_command oci copy' -s j -l jobs -r -f -a jobs
complete -c spack -n '__fish_spack_using_command oci copy' -s j -l jobs -r -d 'connections (default: 8)'
complete -c spack -n '__fish_spack_using_command oci copy' -s n -l dry-run -f -a dry_run
complete -c spack -n '__fish_spack_using_command oci copy' -s n -l dry-run -d 'print what would be done, and do nothing'
complete -c spack -n '__fish_spack_using_command oci copy' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci copy' -l json -d 'print the result as JSON'

# spack oci sync
set -g __fish_spack_optspecs_spack_oci_sync h/help lock= tag= with-build-dependencies platform= full delete j/jobs= n/dry-run json

complete -c spack -n '__fish_spack_using_command oci sync' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci sync' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci sync' -l lock -r -f -a lock
complete -c spack -n '__fish_spack_using_command oci sync' -l lock -r -d 'copy what this spack.lock has; may be repeated'
complete -c spack -n '__fish_spack_using_command oci sync' -l tag -r -f -a tag
complete -c spack -n '__fish_spack_using_command oci sync' -l tag -r -d 'copy this image; may be repeated'
complete -c spack -n '__fish_spack_using_command oci sync' -l with-build-dependencies -f -a with_build_dependencies
complete -c spack -n '__fish_spack_using_command oci sync' -l with-build-dependencies -d 'also what the packages were built with'
complete -c spack -n '__fish_spack_using_command oci sync' -l platform -r -f -a platform
complete -c spack -n '__fish_spack_using_command oci sync' -l platform -r -d 'of images for several platforms only this one'
complete -c spack -n '__fish_spack_using_command oci sync' -l full -f -a full
complete -c spack -n '__fish_spack_using_command oci sync' -l full -d 'compare each tag and look for its layers, instead of comparing the indexes of both'
complete -c spack -n '__fish_spack_using_command oci sync' -l delete -f -a delete
complete -c spack -n '__fish_spack_using_command oci sync' -l delete -d 'remove what FROM has not from TO'
complete -c spack -n '__fish_spack_using_command oci sync' -s j -l jobs -r -f -a jobs
complete -c spack -n '__fish_spack_using_command oci sync' -s j -l jobs -r -d 'connections (default: 8)'
complete -c spack -n '__fish_spack_using_command oci sync' -s n -l dry-run -f -a dry_run
complete -c spack -n '__fish_spack_using_command oci sync' -s n -l dry-run -d 'print what would be done, and do nothing'
complete -c spack -n '__fish_spack_using_command oci sync' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci sync' -l json -d 'print the result as JSON'

# spack oci prune
set -g __fish_spack_optspecs_spack_oci_prune h/help keep-lock= keep-specs= keep-newer-than= keep-last= with-build-dependencies grace= github-api untag n/dry-run json

complete -c spack -n '__fish_spack_using_command oci prune' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci prune' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci prune' -l keep-lock -r -f -a keep_lock
complete -c spack -n '__fish_spack_using_command oci prune' -l keep-lock -r -d 'keep what this spack.lock has; may be repeated'
complete -c spack -n '__fish_spack_using_command oci prune' -l keep-specs -r -f -a keep_specs
complete -c spack -n '__fish_spack_using_command oci prune' -l keep-specs -r -d 'keep what matches; may be repeated'
complete -c spack -n '__fish_spack_using_command oci prune' -l keep-newer-than -r -f -a keep_newer_than
complete -c spack -n '__fish_spack_using_command oci prune' -l keep-newer-than -r -d 'keep what was first seen by a prune less than this ago: 14d, 12h (a registry does not tell more)'
complete -c spack -n '__fish_spack_using_command oci prune' -l keep-last -r -f -a keep_last
complete -c spack -n '__fish_spack_using_command oci prune' -l keep-last -r -d 'keep the N newest builds of each name and version'
complete -c spack -n '__fish_spack_using_command oci prune' -l with-build-dependencies -f -a with_build_dependencies
complete -c spack -n '__fish_spack_using_command oci prune' -l with-build-dependencies -d 'keep also what kept packages were built with'
complete -c spack -n '__fish_spack_using_command oci prune' -l grace -r -f -a grace
complete -c spack -n '__fish_spack_using_command oci prune' -l grace -r -d 'time between taking out of the index and deleting (default: 1h)'
complete -c spack -n '__fish_spack_using_command oci prune' -l github-api -f -a github_api
complete -c spack -n '__fish_spack_using_command oci prune' -l github-api -d 'for ghcr.io, which deletes nothing itself: delete by GitHub'"'"'s REST API, with the token in GITHUB_TOKEN'
complete -c spack -n '__fish_spack_using_command oci prune' -l untag -f -a untag
complete -c spack -n '__fish_spack_using_command oci prune' -l untag -d 'where nothing can be deleted: take the tags away, for the registry'"'"'s own clean-up of untagged manifests'
complete -c spack -n '__fish_spack_using_command oci prune' -s n -l dry-run -f -a dry_run
complete -c spack -n '__fish_spack_using_command oci prune' -s n -l dry-run -d 'print what would be done, and do nothing'
complete -c spack -n '__fish_spack_using_command oci prune' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci prune' -l json -d 'print the result as JSON'

# spack oci pin
set -g __fish_spack_optspecs_spack_oci_pin h/help lock= until= json

complete -c spack -n '__fish_spack_using_command oci pin' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci pin' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci pin' -l lock -r -f -a lock
complete -c spack -n '__fish_spack_using_command oci pin' -l lock -r -d 'what this spack.lock has; may be repeated'
complete -c spack -n '__fish_spack_using_command oci pin' -l until -r -f -a until
complete -c spack -n '__fish_spack_using_command oci pin' -l until -r -d 'last day, as 2027-06-30; default: for ever'
complete -c spack -n '__fish_spack_using_command oci pin' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci pin' -l json -d 'print the result as JSON'

# spack oci unpin
set -g __fish_spack_optspecs_spack_oci_unpin h/help json

complete -c spack -n '__fish_spack_using_command oci unpin' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci unpin' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci unpin' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci unpin' -l json -d 'print the result as JSON'

# spack oci pins
set -g __fish_spack_optspecs_spack_oci_pins h/help json

complete -c spack -n '__fish_spack_using_command oci pins' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci pins' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci pins' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci pins' -l json -d 'print the result as JSON'

# spack oci snapshot
set -g __fish_spack_optspecs_spack_oci_snapshot h/help lock= with-build-dependencies allow-missing remove json

complete -c spack -n '__fish_spack_using_command oci snapshot' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci snapshot' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci snapshot' -l lock -r -f -a lock
complete -c spack -n '__fish_spack_using_command oci snapshot' -l lock -r -d 'what this spack.lock has; may be repeated'
complete -c spack -n '__fish_spack_using_command oci snapshot' -l with-build-dependencies -f -a with_build_dependencies
complete -c spack -n '__fish_spack_using_command oci snapshot' -l with-build-dependencies -d 'also what the packages were built with'
complete -c spack -n '__fish_spack_using_command oci snapshot' -l allow-missing -f -a allow_missing
complete -c spack -n '__fish_spack_using_command oci snapshot' -l allow-missing -d 'leave out what the mirror lacks, instead of failing'
complete -c spack -n '__fish_spack_using_command oci snapshot' -l remove -f -a remove
complete -c spack -n '__fish_spack_using_command oci snapshot' -l remove -d 'remove the snapshot; its packages stay until a prune'
complete -c spack -n '__fish_spack_using_command oci snapshot' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci snapshot' -l json -d 'print the result as JSON'

# spack oci snapshots
set -g __fish_spack_optspecs_spack_oci_snapshots h/help json

complete -c spack -n '__fish_spack_using_command oci snapshots' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci snapshots' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci snapshots' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci snapshots' -l json -d 'print the result as JSON'

# spack oci du
set -g __fish_spack_optspecs_spack_oci_du h/help by= top= quick json

complete -c spack -n '__fish_spack_using_command oci du' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci du' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci du' -l by -r -f -a 'package version'
complete -c spack -n '__fish_spack_using_command oci du' -l by -r -d 'rows (default: package)'
complete -c spack -n '__fish_spack_using_command oci du' -l top -r -f -a top
complete -c spack -n '__fish_spack_using_command oci du' -l top -r -d 'the N largest; 0: all (default: 20)'
complete -c spack -n '__fish_spack_using_command oci du' -l quick -f -a quick
complete -c spack -n '__fish_spack_using_command oci du' -l quick -d 'believe the index, and read no manifests (one request for each package): packages'"'"' own layers alone'
complete -c spack -n '__fish_spack_using_command oci du' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci du' -l json -d 'print the result as JSON'

# spack oci export
set -g __fish_spack_optspecs_spack_oci_export h/help format= compression= sbom= base-image= skip-libc-check entrypoint= cmd= env= label= user= workdir= port= volume= layer-strategy= squash strip-build-info exclude-files= json

complete -c spack -n '__fish_spack_using_command oci export' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci export' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci export' -l format -r -f -a 'oci oci-archive docker-archive'
complete -c spack -n '__fish_spack_using_command oci export' -l format -r -d 'default: what DEST begins with, else an OCI archive for *.tar and a layout directory for the rest'
complete -c spack -n '__fish_spack_using_command oci export' -l compression -r -f -a compression
complete -c spack -n '__fish_spack_using_command oci export' -l compression -r -d 'gzip[:1-9] or zstd[:1-22]'
complete -c spack -n '__fish_spack_using_command oci export' -l sbom -r -f -a sbom
complete -c spack -n '__fish_spack_using_command oci export' -l sbom -r -d 'write a software bill of materials (SPDX) of the image, and put it into it'
complete -c spack -n '__fish_spack_using_command oci export' -l base-image -r -f -a base_image
complete -c spack -n '__fish_spack_using_command oci export' -l base-image -r -d 'build the images on this one: debian:12, HOST/NAME:TAG, oci+file:///DIR:TAG (default: oci:base_image)'
complete -c spack -n '__fish_spack_using_command oci export' -l skip-libc-check -f -a skip_libc_check
complete -c spack -n '__fish_spack_using_command oci export' -l skip-libc-check -d 'do not compare the base image'"'"'s C library with the packages'"'"''
complete -c spack -n '__fish_spack_using_command oci export' -l entrypoint -r -f -a entrypoint
complete -c spack -n '__fish_spack_using_command oci export' -l entrypoint -r -d 'program that is run: words, or a JSON list'
complete -c spack -n '__fish_spack_using_command oci export' -l cmd -r -f -a cmd
complete -c spack -n '__fish_spack_using_command oci export' -l cmd -r -d 'its arguments when none are given: words, or a JSON list'
complete -c spack -n '__fish_spack_using_command oci export' -l env -r -f -a env
complete -c spack -n '__fish_spack_using_command oci export' -l env -r -d 'environment variable'
complete -c spack -n '__fish_spack_using_command oci export' -l label -r -f -a label
complete -c spack -n '__fish_spack_using_command oci export' -l label -r -d 'label of the image'
complete -c spack -n '__fish_spack_using_command oci export' -l user -r -f -a user
complete -c spack -n '__fish_spack_using_command oci export' -l user -r -d 'USER, UID, USER:GROUP or UID:GID that the program runs as'
complete -c spack -n '__fish_spack_using_command oci export' -l workdir -r -f -a workdir
complete -c spack -n '__fish_spack_using_command oci export' -l workdir -r -d 'working directory'
complete -c spack -n '__fish_spack_using_command oci export' -l port -r -f -a port
complete -c spack -n '__fish_spack_using_command oci export' -l port -r -d 'port that is listened on'
complete -c spack -n '__fish_spack_using_command oci export' -l volume -r -f -a volume
complete -c spack -n '__fish_spack_using_command oci export' -l volume -r -d 'directory for data that stays'
complete -c spack -n '__fish_spack_using_command oci export' -l layer-strategy -r -f -a 'size popularity volatility'
complete -c spack -n '__fish_spack_using_command oci export' -l layer-strategy -r -d 'which packages share a layer when there are more than oci:max_layers (default: volatility)'
complete -c spack -n '__fish_spack_using_command oci export' -l squash -f -a squash
complete -c spack -n '__fish_spack_using_command oci export' -l squash -d 'put all packages into one layer'
complete -c spack -n '__fish_spack_using_command oci export' -l strip-build-info -f -a strip_build_info
complete -c spack -n '__fish_spack_using_command oci export' -l strip-build-info -d 'leave out what is only for building: .spack, headers, static libraries, man pages, CMake and pkg-config'
complete -c spack -n '__fish_spack_using_command oci export' -l exclude-files -r -f -a exclude_files
complete -c spack -n '__fish_spack_using_command oci export' -l exclude-files -r -d 'leave these files out of the image'
complete -c spack -n '__fish_spack_using_command oci export' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci export' -l json -d 'print the result as JSON'

# spack oci sign
set -g __fish_spack_optspecs_spack_oci_sign h/help k/key= digests= json

complete -c spack -n '__fish_spack_using_command oci sign' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci sign' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci sign' -s k -l key -r -f -a key
complete -c spack -n '__fish_spack_using_command oci sign' -s k -l key -r -d 'private key (default: what oci:signing names)'
complete -c spack -n '__fish_spack_using_command oci sign' -l digests -r -f -a digests
complete -c spack -n '__fish_spack_using_command oci sign' -l digests -r -d 'sign nothing, write HOST/NAME@DIGEST of each package; -: standard output'
complete -c spack -n '__fish_spack_using_command oci sign' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci sign' -l json -d 'print the result as JSON'

# spack oci verify
set -g __fish_spack_optspecs_spack_oci_verify h/help level= sample= k/key= no-blobs json

complete -c spack -n '__fish_spack_using_command oci verify' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci verify' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci verify' -l level -r -f -a 'index manifests blobs content'
complete -c spack -n '__fish_spack_using_command oci verify' -l level -r -d 'how deep to look (default: blobs)'
complete -c spack -n '__fish_spack_using_command oci verify' -l sample -r -f -a sample
complete -c spack -n '__fish_spack_using_command oci verify' -l sample -r -d 'look at N packages, chosen at random'
complete -c spack -n '__fish_spack_using_command oci verify' -s k -l key -r -f -a key
complete -c spack -n '__fish_spack_using_command oci verify' -s k -l key -r -d 'ask for a signature by this public key'
complete -c spack -n '__fish_spack_using_command oci verify' -l no-blobs -f -a level
complete -c spack -n '__fish_spack_using_command oci verify' -l no-blobs -d 'the same as --level manifests'
complete -c spack -n '__fish_spack_using_command oci verify' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci verify' -l json -d 'print the result as JSON'

# spack oci repair
set -g __fish_spack_optspecs_spack_oci_repair h/help level= n/dry-run json

complete -c spack -n '__fish_spack_using_command oci repair' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci repair' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci repair' -l level -r -f -a 'index manifests blobs content'
complete -c spack -n '__fish_spack_using_command oci repair' -l level -r -d 'how deep to look, as verify (default: blobs)'
complete -c spack -n '__fish_spack_using_command oci repair' -s n -l dry-run -f -a dry_run
complete -c spack -n '__fish_spack_using_command oci repair' -s n -l dry-run -d 'print what would be done, and do nothing'
complete -c spack -n '__fish_spack_using_command oci repair' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci repair' -l json -d 'print the result as JSON'

# spack oci key
set -g __fish_spack_optspecs_spack_oci_key h/help
complete -c spack -n '__fish_spack_using_command_pos 0 oci key' -f -a generate -d 'make a pair of keys, ECDSA P-256, the private one encrypted'
complete -c spack -n '__fish_spack_using_command_pos 0 oci key' -f -a show -d 'show kind, id and public half of a key'
complete -c spack -n '__fish_spack_using_command_pos 0 oci key' -f -a add -d 'add a public key to oci:trust:keys'
complete -c spack -n '__fish_spack_using_command_pos 0 oci key' -f -a list -d 'list the keys of oci:trust:keys and the policies that count them'
complete -c spack -n '__fish_spack_using_command oci key' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci key' -s h -l help -d 'show this help message and exit'

# spack oci key generate
set -g __fish_spack_optspecs_spack_oci_key_generate h/help json

complete -c spack -n '__fish_spack_using_command oci key generate' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci key generate' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci key generate' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci key generate' -l json -d 'print the result as JSON'

# spack oci key show
set -g __fish_spack_optspecs_spack_oci_key_show h/help json

complete -c spack -n '__fish_spack_using_command oci key show' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci key show' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci key show' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci key show' -l json -d 'print the result as JSON'

# spack oci key add
set -g __fish_spack_optspecs_spack_oci_key_add h/help scope= json

complete -c spack -n '__fish_spack_using_command oci key add' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci key add' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci key add' -l scope -r -f -a scope
complete -c spack -n '__fish_spack_using_command oci key add' -l scope -r -d 'configuration scope to write to (default: Spack'"'"'s for modifications)'
complete -c spack -n '__fish_spack_using_command oci key add' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci key add' -l json -d 'print the result as JSON'

# spack oci key list
set -g __fish_spack_optspecs_spack_oci_key_list h/help json
complete -c spack -n '__fish_spack_using_command oci key list' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci key list' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci key list' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci key list' -l json -d 'print the result as JSON'

# spack oci trust
set -g __fish_spack_optspecs_spack_oci_trust h/help
complete -c spack -n '__fish_spack_using_command_pos 0 oci trust' -f -a show -d 'show the policy of each mirror'
complete -c spack -n '__fish_spack_using_command_pos 0 oci trust' -f -a accept-older -d 'forget which index of a mirror was the newest, and take the one that is there now'
complete -c spack -n '__fish_spack_using_command oci trust' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci trust' -s h -l help -d 'show this help message and exit'

# spack oci trust show
set -g __fish_spack_optspecs_spack_oci_trust_show h/help json
complete -c spack -n '__fish_spack_using_command oci trust show' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci trust show' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci trust show' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci trust show' -l json -d 'print the result as JSON'

# spack oci trust accept-older
set -g __fish_spack_optspecs_spack_oci_trust_accept_older h/help json

complete -c spack -n '__fish_spack_using_command oci trust accept-older' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci trust accept-older' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci trust accept-older' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci trust accept-older' -l json -d 'print the result as JSON'

# spack oci login
set -g __fish_spack_optspecs_spack_oci_login h/help u/username= password-stdin identity-token json

complete -c spack -n '__fish_spack_using_command oci login' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci login' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci login' -s u -l username -r -f -a username
complete -c spack -n '__fish_spack_using_command oci login' -s u -l username -r -d 'user name (default: asked for)'
complete -c spack -n '__fish_spack_using_command oci login' -l password-stdin -f -a password_stdin
complete -c spack -n '__fish_spack_using_command oci login' -l password-stdin -d 'read the password or token from standard input'
complete -c spack -n '__fish_spack_using_command oci login' -l identity-token -f -a identity_token
complete -c spack -n '__fish_spack_using_command oci login' -l identity-token -d 'the secret is an OAuth2 refresh token, as Azure gives them'
complete -c spack -n '__fish_spack_using_command oci login' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci login' -l json -d 'print the result as JSON'

# spack oci logout
set -g __fish_spack_optspecs_spack_oci_logout h/help json

complete -c spack -n '__fish_spack_using_command oci logout' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci logout' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci logout' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci logout' -l json -d 'print the result as JSON'

# spack oci doctor
set -g __fish_spack_optspecs_spack_oci_doctor h/help json

complete -c spack -n '__fish_spack_using_command oci doctor' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci doctor' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci doctor' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci doctor' -l json -d 'print the result as JSON'

# spack oci clean
set -g __fish_spack_optspecs_spack_oci_clean h/help json
complete -c spack -n '__fish_spack_using_command oci clean' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci clean' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci clean' -l json -f -a json
complete -c spack -n '__fish_spack_using_command oci clean' -l json -d 'print the result as JSON'

# spack oci completion
set -g __fish_spack_optspecs_spack_oci_completion h/help path o/output=
complete -c spack -n '__fish_spack_using_command_pos 0 oci completion' -f -a 'bash zsh fish man'
complete -c spack -n '__fish_spack_using_command oci completion' -s h -l help -f -a help
complete -c spack -n '__fish_spack_using_command oci completion' -s h -l help -d 'show this help message and exit'
complete -c spack -n '__fish_spack_using_command oci completion' -l path -f -a path
complete -c spack -n '__fish_spack_using_command oci completion' -l path -d 'print the name of the file that is installed'
complete -c spack -n '__fish_spack_using_command oci completion' -s o -l output -r -f -a output
complete -c spack -n '__fish_spack_using_command oci completion' -s o -l output -r -d 'directory for the man pages'
