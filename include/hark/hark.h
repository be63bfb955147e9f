// hark/hark.h - everything: actors, messages, futures, streams, blocking work, systems.

#ifndef HARK_HARK_H
#define HARK_HARK_H

#include <hark/actor.h>
#include <hark/async.h>
#include <hark/base.h>
#include <hark/blocking.h>
#include <hark/cancel.h>
#include <hark/future.h>
#include <hark/message.h>
#include <hark/scope.h>
#include <hark/stream.h>
#include <hark/system.h>

#endif // HARK_HARK_H
