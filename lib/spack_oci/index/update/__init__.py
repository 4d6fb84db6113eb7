# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Making the index of a build cache say what the build cache has: incrementally, with any number of writers at once.

**Current.** An index is current when it names all the tags of packages and, for each, the digest that the tag has. The
tags are the truth, the index is a summary of them.

**Incremental.** The last document of ours says what is known. Only tags are read that it does not list, or that have
another digest than it says; those that are gone are dropped. A registry lists tags without digests, so that to notice
a package that was pushed again costs a HEAD request for each tag (a layout has them in one file). ``update_index`` does
so unless it is told not to; ``merge_pushed``, which a push runs, knows the digests of what it pushed, and leaves those
of others to them.

**Many writers.** A registry offers no way to replace a tag only if it still has the value that was read, so two writers
that start from the same index can overwrite each other. Each of them therefore runs this loop::

    look:     read the index, then list the tags
    complete? the index has all that was pushed or read here, and all the tags, and both documents belong together: done
    back off: wait a random time, look again, perhaps somebody else has completed it
    write:    what the index has, plus what was pushed here, plus the missing tags, minus those that are gone

Why this ends with every package of every pusher in the index: a pusher merges only after its tags are written, and
stops only after a look that came *after* its last write and showed a complete index. Take the last write that anybody
makes, by V. V looks afterwards. A package that this last index lacks was tagged before that look, or after it. If
before, V sees the tag, finds the index incomplete and writes again, so it was not the last write. If after, the pusher
of that package has yet to merge, looks, finds its package missing and writes, so again it was not the last. Hence the
last index lacks nothing. The same holds for the digest of a package that was pushed again, with one request more: who
finds another digest in an index than that of what was pushed or read here asks the tag, after its own write, which of
two pushers was the last. (Of two who push the same new package at once, neither finds an index with it; then the index
may name the one that was first, until digests are compared again.) Two documents are two places to overwrite; ours
names the manifest of the other and is written after it, so a look also finds a mixture of two writers incomplete, and
the same argument holds for the pair.

**Forty at once.** Three things keep the requests of a writer from growing with the number of the others.

*In a line.* Of writers that all begin at once, one gets through, and the others have looked and uploaded for nothing.
So a push that sees packages of others which are in no index yet waits for a random time before it writes, and so does
who was overtaken. The time is drawn from as many cycles (a look and a write, as long as they take here and now) as
there are others: there are as many of them as what is missing has shares like its own. Who waits looks again
meanwhile, and draws again from the line as it is then. What is missing may also be what a killed push has left: only
who has seen that something moves waits on.

*Giving way.* A writer looks whether somebody else has written meanwhile, before it uploads (where somebody may be at
work) and again when all is uploaded but the tags, and then gives way: to write over that would make both write again.
(Its last attempts do not give way.)

*To each his own.* A push leaves the packages that others have pushed and not merged yet to those others: to read them
costs two requests a package, of each of many pushers. It stops while the index lacks some of them, if everything of its
own is there and *somebody else has written since its own last write*. Who has written last waits and looks again,
``settle`` seconds later at least, and more cycles later than the longest gap in a line is likely to be, until somebody
else has written, or all is merged that was missing when it looked after its write. When nothing has moved meanwhile,
nobody is there to merge the rest, and it reads that; so it does when others are at work for ``_PATIENCE`` such waits.

That keeps the argument above: V, whom nobody writes after, does not stop before the index has all tags that V saw after
its last write, and for the others the argument is about their pushers. No clock is in it: how long a writer waits, and
how many others it thinks there are, decides when it writes and who reads what, and never whether it may stop.

Who is killed between a write and its end may leave behind an index without the packages of somebody who had
finished. Nothing is damaged then: the tags are there, readers of the index do not see those packages, and the next
writer of any package, or ``update-index``, adds them. The same holds when a Spack without this extension overwrites
``index.spack``: ours then names another manifest, readers fall back, and the next writer of ours repairs both.

The loop is bounded. After ``attempts`` writes, or when it has waited twice for others who are always at work and never
write, a writer that sees everything of its own leaves to their pushers also what it first saw after its last write.
Only a pusher that merged and looked entirely within the time of that one last write could lose its packages by that,
until the next write.
"""
