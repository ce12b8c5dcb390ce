#include "parley/villain/victims.h"
namespace parley::villain {
void RunNaiveVictim(Victim& victim) { victim.notes.Finish(End::kWrong, "none yet"); }
}  // namespace parley::villain
