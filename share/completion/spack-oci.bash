# completion of `spack oci`; load it behind Spack's setup-env.sh
if [ -z "${_spack_oci_is_known:-}" ] && typeset -f _spack >/dev/null
then
    _spack_oci_is_known=1
    eval "$(typeset -f _spack | sed '1s/_spack/_spack_without_oci/')"
    _spack() {
        _spack_without_oci
        $list_options || SPACK_COMPREPLY="$SPACK_COMPREPLY oci"
    }
fi

_spack_oci() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --version"
    else
        SPACK_COMPREPLY="push create install fetch update-index rebuild-index list show catalog copy sync prune pin unpin pins snapshot snapshots du export sign verify repair key trust login logout doctor clean completion"
    fi
}

_spack_oci_push() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help -f --force --only --with-build-dependencies --without-build-dependencies --fail-fast --if-writable --update-index --rebuild-index --compression -n --dry-run --sign -k --key --signed -u --unsigned --sbom --provenance --digests --exclude --not-in --group --allow-missing --private --base-image --skip-libc-check -t --tag --entrypoint --cmd --env --label --user --workdir --port --volume --multi-arch --layer-strategy --squash --strip-build-info --exclude-files --json -j --jobs"
    else
        _mirrors
    fi
}

_spack_oci_create() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help -f --force --only --with-build-dependencies --without-build-dependencies --fail-fast --if-writable --update-index --rebuild-index --compression -n --dry-run --sign -k --key --signed -u --unsigned --sbom --provenance --digests --exclude --not-in --group --allow-missing --private --base-image --skip-libc-check -t --tag --entrypoint --cmd --env --label --user --workdir --port --volume --multi-arch --layer-strategy --squash --strip-build-info --exclude-files --json -j --jobs"
    else
        _mirrors
    fi
}

_spack_oci_install() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help -n --dry-run --no-check-signature --only --include-build-deps --overwrite --fail-fast --add --no-add --only-concrete -v --verbose --use-cache --cache-only --show-log-on-error -p --concurrent-packages --json -j --jobs -y --yes-to-all -f --force -U --fresh --reuse --fresh-roots --reuse-deps --deprecated"
    else
        _all_packages
    fi
}

_spack_oci_fetch() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --no-check-signature --json -f --force -U --fresh --reuse --fresh-roots --reuse-deps --deprecated"
    else
        _all_packages
    fi
}

_spack_oci_update_index() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --full --new-only --create --strict --json"
    else
        _mirrors
    fi
}

_spack_oci_rebuild_index() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --full --new-only --create --strict --json"
    else
        _mirrors
    fi
}

_spack_oci_list() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help -l --long -L --very-long -N --namespaces -v --variants -a --allarch --sizes --json --tags --images"
    else
        _mirrors
    fi
}

_spack_oci_show() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json --sbom"
    else
        _mirrors
    fi
}

_spack_oci_catalog() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --title --url --json"
    else
        _mirrors
    fi
}

_spack_oci_copy() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --lock --tag --with-build-dependencies --platform --full --delete -j --jobs -n --dry-run --json"
    else
        SPACK_COMPREPLY=""
    fi
}

_spack_oci_sync() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --lock --tag --with-build-dependencies --platform --full --delete -j --jobs -n --dry-run --json"
    else
        SPACK_COMPREPLY=""
    fi
}

_spack_oci_prune() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --keep-lock --keep-specs --keep-newer-than --keep-last --with-build-dependencies --grace --github-api --untag -n --dry-run --json"
    else
        _mirrors
    fi
}

_spack_oci_pin() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --lock --until --json"
    else
        _mirrors
    fi
}

_spack_oci_unpin() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json"
    else
        _mirrors
    fi
}

_spack_oci_pins() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json"
    else
        _mirrors
    fi
}

_spack_oci_snapshot() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --lock --with-build-dependencies --allow-missing --remove --json"
    else
        _mirrors
    fi
}

_spack_oci_snapshots() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json"
    else
        _mirrors
    fi
}

_spack_oci_du() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --by --top --quick --json"
    else
        _mirrors
    fi
}

_spack_oci_export() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --format --compression --sbom --base-image --skip-libc-check --entrypoint --cmd --env --label --user --workdir --port --volume --layer-strategy --squash --strip-build-info --exclude-files --json"
    else
        SPACK_COMPREPLY=""
    fi
}

_spack_oci_sign() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help -k --key --digests --json"
    else
        _mirrors
    fi
}

_spack_oci_verify() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --level --sample -k --key --no-blobs --json"
    else
        _mirrors
    fi
}

_spack_oci_repair() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --level -n --dry-run --json"
    else
        _mirrors
    fi
}

_spack_oci_key() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help"
    else
        SPACK_COMPREPLY="generate show add list"
    fi
}

_spack_oci_key_generate() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json"
    else
        SPACK_COMPREPLY=""
    fi
}

_spack_oci_key_show() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json"
    else
        SPACK_COMPREPLY=""
    fi
}

_spack_oci_key_add() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --scope --json"
    else
        SPACK_COMPREPLY=""
    fi
}

_spack_oci_key_list() {
    SPACK_COMPREPLY="-h --help --json"
}

_spack_oci_trust() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help"
    else
        SPACK_COMPREPLY="show accept-older"
    fi
}

_spack_oci_trust_show() {
    SPACK_COMPREPLY="-h --help --json"
}

_spack_oci_trust_accept_older() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json"
    else
        _mirrors
    fi
}

_spack_oci_login() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help -u --username --password-stdin --identity-token --json"
    else
        _mirrors
    fi
}

_spack_oci_logout() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json"
    else
        _mirrors
    fi
}

_spack_oci_doctor() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --json"
    else
        _mirrors
    fi
}

_spack_oci_clean() {
    SPACK_COMPREPLY="-h --help --json"
}

_spack_oci_completion() {
    if $list_options
    then
        SPACK_COMPREPLY="-h --help --path -o --output"
    else
        SPACK_COMPREPLY="bash fish man zsh"
    fi
}
