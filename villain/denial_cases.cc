#include "parley/villain/case.h"
namespace parley::villain {
std::vector<Case> DenialCases() { return {}; }
}
