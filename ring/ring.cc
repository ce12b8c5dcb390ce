// SPDX-License-Identifier: Apache-2.0
#include "parley/ring/consumer.h"
#include "parley/ring/producer.h"

namespace parley {

template class BasicProducer<OwnMemory, PeerMemory>;
template class BasicConsumer<OwnMemory, PeerMemory>;

}  // namespace parley
